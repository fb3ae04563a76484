"""From a dataset to what a model is trained on: windows, and the text of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rbox_formats import ClassNames, ImageRecord, images, tiling
from rbox_formats.codecs import Codec
from rbox_formats.errors import DatasetError, counted
from rbox_formats.progress import track
from rbox_formats.typing import Image

from lmm_detector._families import Sample
from lmm_detector._training._augmentation import Augmentation, sample_rng
from lmm_detector._training._mixing import Place
from lmm_detector._training._window_cache import WindowCache, direct


def _as_it_is(size: tuple[int, int]) -> tuple[int, int]:
    return size


ObjectOrder = Literal["category", "position", "random"]


@dataclass(frozen=True)
class TextWriter:
    """How objects become the text that a model learns.

    Attributes:
        class_names: The names of the labels.
        codec: The format.
        max_tokens: The longest text; a longer one loses whole objects, the last ones first.
        count_tokens: The lengths of texts in tokens.
        order: "category": the codec's own, by class and within each by position, as LMMRotate's; "position" alone;
            "random": another in each epoch.
        input_size: What the model sees of a window of some size, for codecs in its pixels.
    """

    class_names: ClassNames
    codec: Codec
    max_tokens: int
    count_tokens: Callable[[Sequence[str]], list[int]]
    order: ObjectOrder = "category"
    input_size: Callable[[tuple[int, int]], tuple[int, int]] = _as_it_is

    def write(self, part: ImageRecord, rng: np.random.Generator) -> tuple[str, int]:
        """Return the longest text of the first objects that is short enough, and how many they are.

        Args:
            part: The objects of a window.
            rng: For a random order.
        """
        shapes, labels, size = part.shapes, part.labels, part.size
        seen = self.input_size(size)
        by: Literal["category", "position"] = "position" if self.order == "position" else "category"
        order = self.codec.order(shapes, labels, self.class_names, size, seen, by=by)
        if self.order == "random":
            order = rng.permutation(order)

        def first(count: int) -> str:
            return self.codec.encode(shapes, labels, self.class_names, size, seen, order=order[:count])

        # Each object adds tokens, so the longest text that fits is found by halving.
        low, high = 0, len(order) + 1
        text = first(len(order))
        if self.count_tokens([text])[0] <= self.max_tokens:
            return text, len(order)
        while high - low > 1:
            middle = (low + high) // 2
            if self.count_tokens([first(middle)])[0] <= self.max_tokens:
                low = middle
            else:
                high = middle
        return first(low), low


@dataclass(frozen=True)
class WindowText:
    """A window to train on, and what the model shall answer to it.

    Attributes:
        image_id: Of the image.
        path: The image's file.
        window: Where it lies.
        part: Its objects, in its own pixels.
        text: The answer, where neither augmentation nor a random order changes it.
        objects: How many objects the text holds.
    """

    image_id: str
    path: Path
    window: tiling.Window
    part: ImageRecord
    text: str
    objects: int

    @property
    def left_out(self) -> int:
        """How many more objects the window has, which did not fit the length limit."""
        return len(self.part) - self.objects

    def to_dict(self) -> dict[str, object]:
        """Return the fields for JSON, without the path."""
        return {
            "image_id": self.image_id,
            "window": list(self.window[:3]),
            "text": self.text,
            "objects": self.objects,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class WindowTexts:
    """Windows and texts as a training set: the pixels are read when a sample is asked for.

    Attributes:
        items: The windows.
        writer: What writes the texts.
        augmentation: What is done to images and objects. None: nothing.
        seed: Of augmentation and random orders. With the epoch and the window's number it decides on both, whichever
            process loads the sample.
        cache: Keeps windows of large images. None: each is read from its image.
    """

    items: Sequence[WindowText]
    writer: TextWriter
    augmentation: Augmentation | None = None
    seed: int = 0
    cache: WindowCache | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Place) -> Sample:
        item = self.items[place.number]
        if self.augmentation is None and self.writer.order != "random":
            return Sample(self._pixels(item), item.text, complete=item.left_out == 0)
        rng = sample_rng(self.seed, *place)
        image, part = self._changed(item, rng)
        text, objects = self.writer.write(part, rng)
        if len(part) and not objects:  # not one fits in this order, and the text for none would be untrue
            return Sample(self._pixels(item), item.text, complete=item.left_out == 0)
        return Sample(image, text, complete=objects == len(part))

    def scene(self, place: Place) -> tuple[Image, ImageRecord]:
        """Return a window's pixels (size, size, 3) uint8 and its objects, as augmentation changes them this time."""
        return self._changed(self.items[place.number], sample_rng(self.seed, *place))

    def _changed(self, item: WindowText, rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        image, part = self._pixels(item), item.part
        if self.augmentation is None:
            return image, part
        changed, left = self.augmentation.apply(image, part, rng)
        if len(left) or self.writer.codec.empty_answer is not None:
            return changed, left
        return image, part

    def _pixels(self, item: WindowText) -> Image:
        if self.cache is None:
            return direct(item.path, item.window)
        return self.cache.pixels(item.path, item.window)

    def to_jsonl(self) -> str:
        """Return a line per window: what this model is being taught."""
        return "".join(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in self.items)


def check_images(paths: Sequence[Path]) -> None:
    """Look all files over for damage, before any long work.

    Raises:
        ImageError: If one is not a whole image.
    """
    for path in track(paths, "checking images"):
        images.check(path)


def window_texts(records: Sequence[ImageRecord], writer: TextWriter, *, window: int, gap: int) -> list[WindowText]:
    """Cut images into windows and write the text of each.

    A window without objects is left out where the codec has no answer for it.

    Raises:
        DatasetError: If no window is left.
    """
    items = []
    rng = np.random.default_rng(0)  # random orders are drawn again for each sample
    for record in track(records, "writing texts"):
        for place in tiling.windows(*record.size, window, gap):
            part = tiling.clip_to_window(record, place)
            if len(part) == 0 and writer.codec.empty_answer is None:
                continue
            text, objects = writer.write(part, rng)
            if len(part) > 0 and objects == 0:
                continue  # not one object fits, and the text for none would be untrue
            items.append(WindowText(record.image_id, record.file, place, part, text, objects))
    if not items:
        raise DatasetError(
            f"expected objects whose text has at most {writer.max_tokens} tokens, "
            f"got none in {counted(len(records), 'image')}",
            remedy="Images without objects are left out, unless the codec has a text for them.",
        )
    return items
