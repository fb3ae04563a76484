"""Find images that an annotation names, only in the folders where they may be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from rbox_formats import files, images
from rbox_formats._records import ImageRecord
from rbox_formats.datasets._folders import ImageFile
from rbox_formats.errors import DatasetError, quoted
from rbox_formats.parsing.json_values import Value


def inside(name: str, root: Path, base: Path) -> Path:
    """Return the path of a name in an annotation file, after checking that it is inside the dataset's folder.

    Args:
        name: A path relative to `base`, with '/' or Windows' backslash between folders, single or doubled; '..' is
            accepted if the path stays inside.
        root: The dataset's folder.
        base: A folder in it.

    Raises:
        DatasetError: If the name is absolute, has a Windows drive, leaves `root`, or names a folder.
    """
    parts = list(base.relative_to(root).parts)
    names = name.replace("\\", "/").split("/")
    if not names[0] or names[-1] in {"", ".", ".."}:
        raise DatasetError(f"expected the name of a file inside {root}, got {quoted(name)}")
    for part in names:
        if part == ".." and parts:
            parts.pop()
        elif part not in {"", "."}:
            try:
                parts.append(files.safe_name(part, root))
            except DatasetError as error:
                raise DatasetError(f"expected the name of a file inside {root}, got {quoted(name)}") from error
    return root.joinpath(*parts)


def find_image(name: str, root: Path, folders: Iterable[Path]) -> ImageFile:
    """Find an image by its name relative to several folders; all fields are None where there is none.

    Raises:
        DatasetError: If the name leaves the dataset's folder.
    """
    for folder in folders:
        path = inside(name, root, folder)
        # Unlike `Path.is_file`, this returns False for a name that is too long for the file system.
        if os.path.isfile(path):  # noqa: PTH113
            return ImageFile(path, *images.read_size(path))
    return ImageFile()


def find_first(names: Iterable[str], root: Path, folders: Iterable[Path]) -> ImageFile:
    """Return `find_image` of the first of several names that exists inside the dataset."""
    folders = list(folders)
    for name in names:
        try:
            found = find_image(name, root, folders)
        except DatasetError:
            continue
        if found.path is not None:
            return found
    return ImageFile()


def find_named(name: Value, root: Path, folders: Iterable[Path]) -> ImageFile:
    """Return `find_image` of a name in a JSON file.

    If the name leaves the dataset, like a path of another machine (absolute, with a drive, from `..`), only its last
    part is looked for.

    Raises:
        DatasetError: If it is not the name of a file; with its place in the JSON file.
    """
    text = name.text()
    folders = list(folders)
    try:
        for folder in folders:
            inside(text, root, folder)
    except DatasetError:
        text = PureWindowsPath(PureWindowsPath(text).name).name if text[-1:] not in ("/", "\\") else ""
        try:
            inside(text, root, root)
        except DatasetError:
            raise name.error(f"the name of a file inside {root}", "Move the image there, and correct it.") from None
    return find_image(text, root, folders)


def image_name(record: ImageRecord) -> str:
    """Return the name of a record's image in a new dataset: its id, with the suffix of its file or `.png`."""
    return f"{record.image_id}{record.path.suffix if record.path else '.png'}"
