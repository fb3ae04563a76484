"""What scripts that try models have in common: with which versions they do, what is kept, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

#: By the name under which a version is kept; of several packages that bring the same, the first that is installed.
PACKAGES = {
    "torch": ("torch",),
    "mmengine": ("mmengine",),
    "mmcv": ("mmcv", "mmcv-lite"),
    "mmdet": ("mmdet",),
    "mmrotate": ("mmrotate",),
}


def versions(*names: str) -> dict[str, str]:
    """Return the installed versions of these packages."""
    return {name: next(filter(None, map(_version, PACKAGES[name]))) for name in names}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def kept(path: Path, setup: dict[str, Any], *, anew: bool = False) -> dict[str, Any]:
    """Return the results that a file holds, by model; none where they were made with another set-up."""
    if path.is_file() and not anew:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["setup"] == setup:
            return found
    return {"setup": setup, "models": {}}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table, with an empty line before and after it."""
    return ["", *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)), ""]
