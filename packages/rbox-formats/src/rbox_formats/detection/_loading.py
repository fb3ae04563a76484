"""Detectors of any installed package, found by a path alone."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

from rbox_formats import files
from rbox_formats.detection._protocol import Detector
from rbox_formats.errors import ModelFileError, quoted, said

#: The group of entry points under which packages offer their detectors.
ENTRY_POINTS = "rbox_formats.detectors"


@runtime_checkable
class DetectorLoader(Protocol):
    """What a package offers under an entry point of the group "rbox_formats.detectors": a module with these names.

        [project.entry-points."rbox_formats.detectors"]
        my-detector = "my_package.rbox_plugin"

    It is imported for every path that somebody asks about: torch belongs into `load_detector`.

    >>> from importlib import metadata
    >>> sorted(entry.name for entry in metadata.entry_points(group=ENTRY_POINTS))  # doctest: +SKIP
    ['lmm-detector', 'rbox-baselines']

    Attributes:
        COMMAND: The command that predicts with such detectors, such as "lmm-detector".
    """

    COMMAND: str

    def is_detector(self, path: str | Path) -> bool:
        """Tell whether a path, or another name, is a detector of this package; from names and headers alone."""
        ...

    def load_detector(self, path: str | Path, *, device: str | None = None) -> Detector:
        """Load it.

        Args:
            path: What `is_detector` said yes to.
            device: Such as "cpu" or "cuda:0". None: the best that there is.
        """
        ...


def load_detector(path: str | Path, *, device: str | None = None) -> Detector:
    """Load a detector, of whichever installed package it is.

    >>> detector = load_detector("runs/dota/model")  # doctest: +SKIP
    >>> detector.predict("scene.png")  # doctest: +SKIP

    Args:
        path: A folder that `lmm-detector train` wrote, a checkpoint of `rbox-baselines train` or of MMRotate, or what
            else an installed package recognises, such as "demo" for lmm-detector's small detector.
        device: Such as "cpu" or "cuda:0". None: the best that there is.

    Raises:
        ModelFileError: If no installed package recognises it.
        RboxError: If it is broken; as the package says.
    """
    files.as_path(path, ModelFileError)
    loader = _loader_of(path)
    if loader is not None:
        return loader.load_detector(path, device=device)
    installed = sorted({entry.name for entry in _entries()})
    known = f"of {', '.join(installed)}" if installed else "of any package: none that has detectors is installed"
    raise ModelFileError(
        f"expected a detector {known}; {quoted(str(path))} is not one",
        remedy="Give the folder `model` of a run of lmm-detector, or a .pth file of rbox-baselines or MMRotate; the "
        "package must be installed (pip install lmm-detector, pip install rbox-baselines).",
    )


def command_of(path: str | Path) -> str | None:
    """Return the command of the installed package whose detector a path is, or None where it is of none.

    >>> command_of("demo")  # doctest: +SKIP
    'lmm-detector'
    >>> command_of("notes.txt")

    Args:
        path: The path, or another name of a detector.
    """
    loader = _loader_of(path)
    return None if loader is None else loader.COMMAND


def _entries() -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)


def _loader_of(path: str | Path) -> DetectorLoader | None:
    for entry in _entries():
        try:
            loader: DetectorLoader = entry.load()
        except (ImportError, AttributeError) as error:
            raise ModelFileError(
                f"expected the package of the detectors {quoted(entry.name)} to be importable, got: {said(error)}",
                remedy=f"Repair it, or remove it: pip uninstall {entry.dist.name if entry.dist else entry.name}.",
            ) from error
        if loader.is_detector(path):
            return loader
    return None
