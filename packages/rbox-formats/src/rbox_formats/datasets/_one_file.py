"""Find the JSON file of a dataset that has all its annotations in one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rbox_formats import files
from rbox_formats.errors import DatasetError


class Layout(NamedTuple):
    """Where the file may be, relative to the dataset's folder; it is written to the first place of each.

    Attributes:
        by_split: The places for a split, with "{split}" for its name.
        whole: The places without a split.
    """

    by_split: tuple[str, ...]
    whole: tuple[str, ...]


def annotation_file(root: Path, split: str | None, layout: Layout) -> tuple[Path, Path]:
    """Return a dataset's file and its folder.

    Args:
        root: The folder, or the file itself. The dataset's folder is then that of the file, or the one above it if it
            is named "annotations".
        split: A part of the dataset.
        layout: The places where the file may be.

    Raises:
        DatasetError: If there is no such file, or, without a split, more than one candidate.
    """
    if root.is_file():
        return root, root.parent.parent if root.parent.name.lower() == "annotations" else root.parent
    if not root.is_dir():
        raise DatasetError(
            "expected a dataset folder or a JSON file, found none",
            path=root,
            remedy=f"Give the file itself, or the folder that has {' or '.join(layout.whole)} in it.",
        )
    if split is not None:
        names = [name.format(split=files.safe_name(split, root)) for name in layout.by_split]
        others: list[Path] = []
    else:
        names = list(layout.whole)
        others = [path for folder in (root, root / "annotations") for path in files.visible(folder)]
        others = [path for path in others if path.suffix == ".json" and path.is_file()]
    for path in (root / name for name in names):
        if path.is_file():
            return path, root
    if len(others) == 1:
        return others[0], root
    remedy = "Give the file itself."
    if others:
        remedy = f"It has {', '.join(path.name for path in others)}: give one of the files, or its split (--split)."
    raise DatasetError(f"expected a file {' or '.join(names)}, found none", path=root, remedy=remedy)


def written_file(root: Path, split: str | None, layout: Layout) -> Path:
    """Return the file to write."""
    if root.suffix == ".json":
        return root
    return root / (layout.by_split[0].format(split=files.safe_name(split, root)) if split else layout.whole[0])
