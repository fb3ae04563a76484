"""Find a dataset's files: the folder of a split, its annotations, the images beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rbox_formats import files, images
from rbox_formats._records import Unmatched
from rbox_formats.errors import DatasetError, listed, quoted


def split_folder(root: Path, split: str | None) -> Path:
    """Return the folder of a split, or `root` itself for None.

    Raises:
        DatasetError: If there is no such folder.
    """
    base = root / files.safe_name(split, root) if split else root
    if not base.is_dir():
        remedy = "Give the dataset's folder, or the parent of its splits and a split's name."
        if split and root.is_dir() and any(path.is_dir() for path in files.visible(root)):
            remedy = f"{root} has no folder of that name: choose another split, or leave --split out."
        raise DatasetError("expected a dataset folder, found none", path=base, remedy=remedy)
    return base


def images_by_split(root: Path, split: str | None) -> Path:
    """Return where DOTA and similar formats keep a split's images: `<root>[/<split>]/images`."""
    return (root / files.safe_name(split, root) if split else root) / "images"


def annotation_folder(base: Path, names: Sequence[str]) -> Path:
    """Return the first of several folders that is in `base`.

    Raises:
        DatasetError: If none of them is; the message names the splits that have one.
    """
    for name in names:
        if (base / name).is_dir():
            return base / name
    splits = sorted({path.parents[name.count("/")].name for name in names for path in base.glob(f"*/{name}")})
    splits = [name for name in splits if not name.startswith(".")]
    alternatives = " or ".join(repr(name) for name in names)
    inside = next((name for name in names if base.absolute().as_posix().endswith(f"/{name}")), None)
    if splits:
        remedy = f"It has the splits {', '.join(splits)}: choose one (--split)."
    elif inside is not None:
        remedy = f"Give the dataset's folder, which this one is in: {base.absolute().parents[inside.count('/')]}."
    else:
        remedy = (
            f"Give the folder that has a folder {alternatives} with the annotation files in it; loose files beside it "
            "are not read."
        )
    raise DatasetError(
        f"expected a folder {alternatives} in it, found none",
        path=base,
        remedy=remedy,
    )


# Labels of DOTA's task 2, upright boxes, lie beside those of its task 1 under these names.
_UPRIGHT = ("hbb", "reclabel")


def as_unpacked(folder: Path, patterns: Sequence[str], suffixes: Sequence[str]) -> Path:
    """Return the folder within that a zip makes where it is unpacked into a folder of its own, or else `folder`.

    Args:
        folder: The folder in which the files are looked for.
        patterns: What the zip's own folder may be called.
        suffixes: The suffixes of the files.

    Raises:
        DatasetError: If there are several such folders.
    """
    if _has(folder, suffixes):
        return folder
    within = {path for pattern in patterns for path in folder.glob(pattern) if _has(path, suffixes)}
    found = sorted(path for path in within if not any(word in path.name.lower() for word in _UPRIGHT))
    if len(found) > 1:
        names = listed(path.name for path in found)
        remedy = f"Name one (--labels {folder.name}/{found[0].name}), or move the others away."
        raise DatasetError(f"expected files, or one folder of them, found {names}", path=folder, remedy=remedy)
    return found[0] if found else folder


def _has(folder: Path, suffixes: Sequence[str]) -> bool:
    return folder.is_dir() and any(path.suffix.lower() in suffixes for path in files.visible(folder))


def id_in(path: Path, folder: Path) -> str:
    """Return the id of a file's image: its path in the folder, with '/' between folders and without suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


_OF_FILES = (".txt", ".xml", ".json")
# Images that are named where they are missed.
_UNREAD = (".gif", ".heic", ".heif", ".avif", ".jxl", ".tga", ".ppm", ".pgm", ".svg", ".psd", ".img", ".ecw", ".dng")


def below(folder: Path, nested: bool) -> list[Path]:
    """Return the content of a folder, and of the folders in it where they count too, in order of the names."""
    found: list[Path] = []
    for path in files.visible(folder):
        inner = nested and path.is_dir() and not path.is_symlink() and path.suffix.lower() not in _OF_FILES
        found += below(path, nested) if inner else [path]
    return found


def annotation_files(folder: Path, suffix: str, *, nested: bool = False) -> list[Path]:
    """Return the annotation files in a folder, by name; with `nested` those in its folders too.

    Raises:
        DatasetError: If there are no such files.
    """
    found = [path for path in below(folder, nested) if path.suffix.lower() == suffix]
    if not found:
        inside = listed(path.name + "/" * path.is_dir() for path in files.visible(folder))
        raise DatasetError(
            f"expected annotation files (*{suffix}), found none",
            path=folder,
            remedy="Each image has one, of the same name. "
            + (f"In the folder are {inside}." if inside else "It is empty."),
        )
    return found


# Folders of such names are splits, not folders of images inside a split.
SPLITS = ("train", "val", "valid", "validation", "test", "trainval")


def files_beside_images(base: Path, suffix: str) -> list[Path]:
    """Return the annotation files that lie beside their images: in a folder, and in its folders that have images.

    Folders with the name of a split are other datasets.

    Raises:
        DatasetError: If there are no such files.
    """
    inner = [path for path in below(base, nested=True) if path.parent != base]
    inner = [path for path in inner if not any(part.lower() in SPLITS for part in path.relative_to(base).parts[:-1])]
    with_images = {path.parent for path in inner if path.suffix.lower() in images.SUFFIXES}
    nested = [path for path in inner if path.parent in with_images and path.suffix.lower() == suffix]
    direct = [path for path in files.visible(base) if path.suffix.lower() == suffix]
    return sorted([*direct, *nested]) if nested else annotation_files(base, suffix)


def images_beside(annotations: Iterable[Path], base: Path) -> dict[str, Path]:
    """Return the images in the folders of annotation files, by their paths in `base` without suffix."""
    folders = {base, *(path.parent for path in annotations)}
    return {id_in(path, base): path for folder in sorted(folders) for path in image_index([folder]).values()}


def image_index(folders: Iterable[Path], *, nested: bool = False) -> dict[str, Path]:
    """Return the image files in folders, by their names without suffix; a missing folder has none.

    With `nested`, images in their subfolders are included, by their paths without suffix.

    Raises:
        DatasetError: If two images have the same name.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in (path for path in below(folder, nested) if path.suffix.lower() in images.SUFFIXES):
            name = id_in(path, folder)
            if name in found:
                raise DatasetError(
                    f"expected one image of the name {quoted(name)}, got {path.name} as well", path=found[name]
                )
            found[name] = path
    return found


def images_below(folder: Path) -> dict[str, Path]:
    """Return the images in a folder and its folders, by their paths without suffix; also by names that only one has."""
    paths = [path for path in below(folder, nested=True) if path.suffix.lower() in images.SUFFIXES]
    times = Counter(path.stem for path in paths if path.parent != folder)
    by_name = {path.stem: path for path in paths if times[path.stem] == 1}
    return by_name | {id_in(path, folder): path for path in paths}


def unmatched(
    labels: Iterable[Path],
    image_files: Mapping[str, Path],
    *,
    as_empty: bool = False,
    ids: Mapping[Path, str] | None = None,
) -> Unmatched:
    """Return the annotation files and the images of a folder that have no partner of the same name.

    Args:
        labels: The annotation files.
        image_files: The images, as from `image_index`.
        as_empty: Whether images without an annotation file count as images without objects.
        ids: The image id of each annotation file. None: the file's name.
    """
    labels = list(labels)
    called = {path: path.stem for path in labels} if ids is None else ids
    names = {called[path] for path in labels}
    alone = tuple(path for path in labels if called[path] not in image_files)
    stems = {path.stem for path in alone}
    folders = {path.parent for path in image_files.values()} if alone else ()
    beside = (path for folder in sorted(folders) for path in files.visible(folder))
    return Unmatched(
        images=tuple(path for name, path in image_files.items() if name not in names),
        labels=alone,
        unread=tuple(path for path in beside if path.suffix.lower() in _UNREAD and path.stem in stems),
        as_empty=as_empty,
        image_count=len(image_files),
        label_count=len(labels),
    )


class ImageFile(NamedTuple):
    """An image's file and its size in pixels; all None for an annotation without an image."""

    path: Path | None = None
    width: int | None = None
    height: int | None = None


def image_file(index: dict[str, Path], image_id: str) -> ImageFile:
    """Return an image's file and its size, from the file's header."""
    path = index.get(image_id)
    return ImageFile() if path is None else ImageFile(path, *images.read_size(path))
