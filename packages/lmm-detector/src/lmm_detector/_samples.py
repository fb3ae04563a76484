"""From a dataset to what a model is trained on: windows, and the text of each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbox_formats import ClassNames, Dataset, ImageRecord, images, tiling
from rbox_formats.cli import track
from rbox_formats.codecs import Codec
from rbox_formats.errors import DatasetError

from lmm_detector._families import Sample

logger = logging.getLogger("lmm_detector")


@dataclass(frozen=True)
class WindowText:
    """A window to train on, and what the model shall answer to it.

    Attributes:
        image_id: Of the image.
        path: The image's file.
        window: Where it lies.
        text: The answer.
        objects: How many objects the text holds.
        left_out: How many more the window has, which did not fit the length limit.
    """

    image_id: str
    path: Path
    window: tiling.Window
    text: str
    objects: int
    left_out: int

    def to_dict(self) -> dict[str, object]:
        """For JSON, without the path."""
        return {
            "image_id": self.image_id,
            "window": list(self.window[:3]),
            "text": self.text,
            "objects": self.objects,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class WindowTexts:
    """Windows and texts as a training set: the pixels are read when a sample is asked for."""

    items: Sequence[WindowText]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        return Sample(tiling.crop(images.load(item.path), item.window), item.text, complete=item.left_out == 0)

    def to_jsonl(self) -> str:
        """A line per window: what this model is being taught."""
        return "".join(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in self.items)


def records_with_images(dataset: Dataset) -> list[ImageRecord]:
    """The dataset's records whose image is there.

    Raises:
        DatasetError: If there is none.
    """
    records = [record for record in track(dataset, "reading annotations") if record.path is not None]
    if not records:
        raise DatasetError(
            f"expected images beside the annotations, got none for any of {len(dataset)} label files",
            remedy="Images are looked for in the folder 'images', under the names of the label files.",
        )
    if len(records) < len(dataset):
        logger.info("%d of %d label files have no image, and are left out", len(dataset) - len(records), len(dataset))
    return records


def check_images(paths: Sequence[Path]) -> None:
    """Looks all files over for damage, before any long work.

    Raises:
        ImageError: If one is not a whole image.
    """
    for path in track(paths, "checking images"):
        images.check(path)


def window_texts(
    records: Sequence[ImageRecord],
    class_names: ClassNames,
    codec: Codec,
    *,
    window: int,
    gap: int,
    max_tokens: int,
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> WindowTexts:
    """Cuts images into windows and writes the text of each.

    A window without objects is left out where the codec has no answer for it. A text that is longer than `max_tokens`
    loses whole objects, the last ones first.

    Raises:
        DatasetError: If no window is left.
    """
    items = []
    for record in track(records, "writing texts"):
        for place in tiling.windows(*record.size, window, gap):
            part = tiling.clip_to_window(record, place)
            if len(part) == 0 and codec.empty_answer is None:
                continue
            text, objects = _fitting_text(part, class_names, codec, max_tokens, count_tokens)
            if len(part) > 0 and objects == 0:
                continue  # not one object fits, and the text for none would be untrue
            items.append(WindowText(record.image_id, record.file, place, text, objects, len(part) - objects))
    if not items:
        raise DatasetError(
            f"expected objects whose text has at most {max_tokens} tokens, got none in {len(records)} images",
            remedy="Images without objects are left out, unless the codec has a text for them.",
        )
    return WindowTexts(items)


def _fitting_text(
    part: ImageRecord,
    class_names: ClassNames,
    codec: Codec,
    max_tokens: int,
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> tuple[str, int]:
    """The longest text of the first objects, in the codec's order, that has at most `max_tokens`; and how many."""
    shapes, labels, size = part.shapes, part.labels, part.size
    text = codec.encode(shapes, labels, class_names, size)
    if count_tokens([text])[0] <= max_tokens:
        return text, len(part)
    # The codec's own order, by which the last objects are the ones to go.
    order = codec.order(shapes, labels, class_names, size)

    def first(count: int) -> str:
        return codec.encode(shapes[order[:count]], labels[order[:count]], class_names, size)

    # Each object adds tokens, so the longest text that fits is found by halving.
    low, high = 0, len(part)
    while high - low > 1:
        middle = (low + high) // 2
        if count_tokens([first(middle)])[0] <= max_tokens:
            low = middle
        else:
            high = middle
    return first(low), low
