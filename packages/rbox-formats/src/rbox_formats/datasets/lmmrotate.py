"""LMMRotate's training JSON: an array of images, each with the text that a model is taught to answer.

    [{"file_name": "P0001__1024__0___0.png", "width": 1024, "height": 1024, "id": 0,
      "response": "ship<loc_135><loc_796>...<sep>..."}, ...]

`response` is a text of a codec, by default that of `florence2` in version 2 (`codec=` takes another). Corners are read
as the codec holds them: florence2's are in a thousandth of the image's size, so that a corner comes back to within half
a thousandth (0.5 px at 1,024), in its own order of corners and of objects, and those beyond the border are moved onto
it. The image's size is that of the image file, else `width` and `height`; one of them is needed. A response that its
codec does not read in full is an error, for these are annotations and not a model's answers.

Images without objects: versions 1 and 2 of florence2 have no text for them, and LMMRotate's converter leaves them out,
as `write` does; version 3 writes "There are none.", which every version reads. Of the two formats "lmmrotate" writes
version 2, "lmmrotate-v3" version 3.

There is no place for what is difficult and for scores. Whatever else an entry says, as its `id`, is the record's
metadata and is written back.

Without a list of classes they are the names in the responses, sorted, as the texts have them: lower case, '-' as ' '.
Only florence2's names are found so; other codecs need the list.

On disk, read: the file itself as `root`, or for a split `<split>.json` or `annotations/<split>.json`, without one the
only JSON file. Images are looked for in `images/<split>`, `<split>/images`, `<split>`, `images` and `root`; names never
lead out of it. Written: `<split>.json`, without a split `annotations.json`, or `root` itself where it ends in .json.

The whole file is parsed when the dataset is opened, and held. Writing holds one record at a time.

Source: VisionXLab/mllm-mmrotate, playground/convert_dota_for_sft.py and lmmrotate/dataset.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats import codecs, files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.codecs import Codec
from rbox_formats.datasets import _names
from rbox_formats.datasets._images import find_named, image_name
from rbox_formats.datasets._one_file import Layout, annotation_file, written_file
from rbox_formats.errors import CodecError, DatasetError, quoted
from rbox_formats.images import stem_of
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME

__all__ = ["V2", "V3", "images", "read", "write"]

_LAYOUT = Layout(by_split=("{split}.json", "annotations/{split}.json"), whole=("annotations.json",))
V2 = codecs.get("florence2")
V3 = codecs.get("florence2", version=3)


def read(root: Path, split: str | None, class_names: ClassNames | None, *, codec: Codec = V2) -> Dataset:
    """Open a training file; see `rbox_formats.datasets.read`.

    Args:
        root: The file, or its folder.
        split: A part of the dataset, as in the module's text.
        class_names: The class names that responses may have.
        codec: The codec of the responses.
    """
    path, folder = annotation_file(root, split, _LAYOUT)
    entries = list(json_values.read(path).items())
    stems: set[str] = set()
    for entry in entries:
        stem = stem_of(entry["file_name"].text())
        if stem in stems:
            raise entry["file_name"].error("a file name that no other image has, up to folder and suffix")
        stems.add(stem)
    names = _names_in(entries, codec, path) if class_names is None else class_names
    return Dataset(names, entries, partial(_load, root=folder, split=split, class_names=names, codec=codec))


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    root = root.parent if root.suffix == ".json" else root
    return root / "images" / files.safe_name(split, root) if split else root / "images"


def _names_in(entries: Iterable[Value], codec: Codec, path: Path) -> ClassNames:
    """Return the names in florence2 texts: what stands between a tag and a first coordinate."""
    if codec.name != "florence2":
        remedy = "Give them (class_names=)."
        raise DatasetError(
            f"expected class names, since texts of {quoted(codec.name)} do not contain them", path=path, remedy=remedy
        )
    used: set[str] = set()
    for entry in entries:
        pieces = entry["response"].text().split("<")
        for piece, after in itertools.pairwise(pieces):
            if after.startswith("loc_"):
                used.add(piece.rpartition(">")[2].strip())
    return _names.used(used)


def _load(entry: Value, root: Path, split: str | None, class_names: ClassNames, codec: Codec) -> ImageRecord:
    parts = [f"images/{split}", f"{split}/images", split] if split else []
    image = find_named(entry["file_name"], root, [root / part for part in [*parts, "images", "."]])
    width, height = image.width, image.height
    if width is None or height is None:
        if not (entry.has("width") and entry.has("height")):
            raise entry.error("an image file, or a width and a height: coordinates are relative to them")
        width, height = entry["width"].side(), entry["height"].side()
    response = entry["response"]
    try:
        found = codec.decode(response.text(), class_names, (width, height), on_invalid="raise")
    except CodecError as error:
        message = f"{response.where}: {error}"
        raise DatasetError(message, path=entry.path, remedy=CORRECT_OR_NAME.replace("line", "response")) from error
    if found.status not in ("boxes", "empty"):
        raise response.error(f"a whole text of {quoted(codec.name)}, not one that is {found.status}")
    known = ("file_name", "width", "height", "response")
    return ImageRecord(
        image_id=stem_of(entry["file_name"].text()),
        boxes=found.boxes,
        quads=found.quads,
        labels=found.labels,
        path=image.path,
        width=width,
        height=height,
        metadata={key: value for key, value in entry.value.items() if key not in known},
    )


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    codec: Codec = V2,
) -> Path:
    """Write one training file; see `rbox_formats.datasets.write`.

    Args:
        records: The records, written one at a time; each needs its image's size.
        root: The dataset's folder, or the file.
        split: A part of the dataset, as in the module's text.
        class_names: The class names that the records' labels index.
        codec: The codec of the responses.

    Returns:
        The file.

    Raises:
        FormatsError: If an image's size is not known.
    """
    path = written_file(root, split, _LAYOUT)
    between = "\n"
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write("[")
        for record in records:
            if not len(record) and codec.empty_answer is None:
                continue
            width, height = record.size
            response = codec.encode(record.shapes, record.labels, class_names, (width, height))
            name = files.safe_name(image_name(record), Path("images"))
            entry = {"file_name": name, "width": width, "height": height, "response": response}
            entry |= {key: value for key, value in json_values.holdable(record.metadata).items() if key not in entry}
            stream.write(between + json_values.dump(entry))
            between = ",\n"
        stream.write("]\n")
    return path
