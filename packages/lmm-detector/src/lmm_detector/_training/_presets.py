"""Settings of published runs: YAML files that `lmm_detector.train` takes once data and an output folder are named."""

from __future__ import annotations

from pathlib import Path

from lmm_detector.errors import ConfigError

_ENDING = ".yaml"


def names() -> tuple[str, ...]:
    """Return the presets, in alphabetical order."""
    return tuple(sorted(path.name.removesuffix(_ENDING) for path in _folder().iterdir() if path.name.endswith(_ENDING)))


def path(name: str) -> Path:
    """Return a preset's file; what it reproduces and what differs is said at its head.

    Raises:
        ConfigError: If there is no such preset.
    """
    if name not in names():
        raise ConfigError(f"expected a preset among {', '.join(names())}, got {name!r}")
    return _folder() / f"{name}{_ENDING}"


def _folder() -> Path:
    # Not by importlib.resources, which takes time to load: torch could not be loaded out of an archive either.
    return Path(__file__).parents[1] / "presets"
