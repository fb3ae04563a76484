"""Write the lowest versions that the packages' bounds allow, as constraints for pip.

    python tools/lowest_versions.py > lowest.txt && pip install -c lowest.txt packages/*

Where packages ask for different ones, the highest of them holds: nothing lower goes with all of them.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def lowest(root: Path) -> dict[str, Version]:
    """Return each distribution that a package needs, or has an extra for, and its lowest allowed version.

    Args:
        root: The workspace.

    Raises:
        ValueError: If a requirement has no lower bound.
    """
    found: dict[str, Version] = {}
    members = {path.parent.name for path in root.glob("packages/*/pyproject.toml")} | {"rbox-baselines"}
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        for text in [*project["dependencies"], *(text for extra in extras for text in extra)]:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name in members:
                continue
            bounds = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
            if not bounds:
                raise ValueError(f"{path}: expected a lower bound, got {text!r}")
            found[name] = max([*bounds, *([found[name]] if name in found else [])])
    return found


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(lowest(ROOT).items()))
