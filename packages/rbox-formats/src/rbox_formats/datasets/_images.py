"""Find images that an annotation names, only in the folders where they may be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from rbox_formats import files, images
from rbox_formats._records import ImageRecord
from rbox_formats.datasets._folders import ImageFile
from rbox_formats.errors import DatasetError, quoted
from rbox_formats.images import stem_of
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

    If the name leaves the dataset, like a path of another machine (absolute, with a drive, from `..`), it is looked for
    without its first folders, down to its last part.

    Raises:
        DatasetError: If it is not the name of a file; with its place in the JSON file.
    """
    text = name.text()
    folders = list(folders)
    try:
        for folder in folders:
            inside(text, root, folder)
    except DatasetError:
        last = PureWindowsPath(PureWindowsPath(text).name).name if text[-1:] not in ("/", "\\") else ""
        try:
            inside(last, root, root)
        except DatasetError:
            raise name.error(f"the name of a file inside {root}", "Move the image there, and correct it.") from None
        parts = [*plain_folders(text), last]
        return find_first(("/".join(parts[first:]) for first in range(len(parts))), root, folders)
    return find_image(text, root, folders)


def ids_of(names: Sequence[str]) -> list[str]:
    """Return the ids of images by their names in an annotation file: without folders and suffix.

    If two images have the same, the ids of all are their paths without suffix, such as "cam1/0001". Where such a path
    leads out of the dataset, like one of another machine, what the folders of all begin with is left out.
    """
    called = [stem_of(name) for name in names]
    if len(set(called)) == len(called):
        return called
    folders = [plain_folders(name) for name in names]
    if any(_leads_out(name) for name in names):
        folders = without_common(folders)
    return ["/".join([*parts, stem]) for parts, stem in zip(folders, called, strict=True)]


def without_common(folders: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return folders without those that all of them begin with."""
    first, last = min(map(list, folders)), max(map(list, folders))
    differ = (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    common = next(differ, min(len(first), len(last)))
    return [list(parts[common:]) for parts in folders]


def plain_folders(name: str) -> list[str]:
    """Return the folders in a name, without a drive, '.' and '..'."""
    parts = name.replace("\\", "/").split("/")[:-1]
    return [part for part in parts if part not in ("", ".", "..") and not PureWindowsPath(part).drive]


def _leads_out(name: str) -> bool:
    name = name.replace("\\", "/")
    return name.startswith("/") or bool(PureWindowsPath(name).drive) or ".." in name.split("/")


def is_name_of(name: str, image_id: str) -> bool:
    """Return whether an image's name in an annotation file gives this id, with or without its folders."""
    parts = [*plain_folders(name), stem_of(name)]
    return image_id in ("/".join(parts[first:]) for first in range(len(parts)))


def image_name(record: ImageRecord) -> str:
    """Return the name of a record's image in a new dataset: its id, with the suffix of its file or `.png`."""
    return f"{record.image_id}{record.path.suffix if record.path else '.png'}"
