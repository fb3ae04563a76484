"""What a detector found on an image, as a program or a notebook wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from rbox_formats import draw, files, images, predictions
from rbox_formats._geometry import rbox_to_hbox
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.datasets import geojson
from rbox_formats.errors import FormatsError, ImageError, quoted
from rbox_formats.typing import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where a picture is made

_MIN_SIDE, _MAX_SIDE = 640, 1600


class DetectedObject(NamedTuple):
    """One object of a prediction.

    >>> found = Prediction("a", [[40, 30, 20, 10, 0]], [0], scores=[0.9], class_names=["ship"])
    >>> [(each.name, each.score) for each in found]
    [('ship', 0.9)]

    Attributes:
        name: The class.
        label: The class, as an index into the class names.
        score: From 0 to 1, or None where the detector gives none.
        box: (5,) float64 as (cx, cy, w, h, angle), `le90`, pixels and radians.
        corners: (4, 2) float64, in pixels.
    """

    name: str
    label: int
    score: float | None
    box: np.ndarray
    corners: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(ImageRecord):
    """The objects that a detector found on an image: a record that can be indexed, drawn and handed on.

    >>> found = Prediction("P0001", boxes=[[40, 30, 20, 10, 0.0], [80, 60, 9, 4, 0.5]], labels=[1, 0],
    ...                    scores=[0.9, 0.4], class_names=["plane", "ship"])
    >>> found
    <Prediction of 'P0001': 1 ship, 1 plane>
    >>> found[0].name, found[found.scores >= 0.5].names
    ('ship', ['ship'])

    Attributes:
        class_names: What the labels index; a list of names becomes `ClassNames`.
        pixels: (height, width, 3) uint8, of an image that is in no file.
        spans: (N, 3) int64: of each box the window in whose text a multimodal model wrote its coordinates, as an index
            into `metadata["windows"]`, and the first of their characters and one past the last. None: no text.
    """

    class_names: ClassNames = field(kw_only=True)
    pixels: Image | None = field(default=None, kw_only=True)
    spans: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.class_names, ClassNames):
            object.__setattr__(self, "class_names", ClassNames(self.class_names))
        if self.spans is not None and self.spans.shape != (len(self), 3):
            raise FormatsError(
                f"expected spans of shape ({len(self)}, 3) on {quoted(self.image_id)}, got {self.spans.shape}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise FormatsError(
                f"expected labels from 0 below {len(self.class_names)} on {quoted(self.image_id)}, got "
                f"{self.labels.min()} to {self.labels.max()}"
            )

    @classmethod
    def of(cls, record: ImageRecord, class_names: ClassNames, **more: Any) -> Prediction:
        """Make a prediction of a record.

        Args:
            record: The objects found.
            class_names: What the labels index.
            **more: Fields that differ from the record's, such as `path`.
        """
        values = {each.name: getattr(record, each.name) for each in fields(ImageRecord)}
        return cls(**{**values, **more}, class_names=class_names)

    def select(self, which: Any) -> Prediction:
        """Return the prediction with only some of its objects; see `ImageRecord.select`."""
        found = super().select(which) if self.spans is None else ImageRecord.select(replace(self, spans=None), which)
        return found if self.spans is None else replace(found, spans=self.spans[which])

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.class_names[label] for label in self.labels]

    @property
    def text(self) -> str | None:
        """What a multimodal model wrote, a line for each window; None of a detector that writes nothing."""
        windows = self.metadata.get("windows")
        return None if windows is None else "\n".join(window["text"] for window in windows)

    @property
    def status(self) -> str:
        """What became of the image: "boxes" or "empty".

        Or what is wrong with a multimodal model's text: "truncated" by the length limit, stopped as it "repeated"
        boxes, "failed" to be read.
        """
        return str(self.metadata.get("status", "boxes" if len(self) else "empty"))

    def __iter__(self) -> Iterator[DetectedObject]:
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, which: int) -> DetectedObject: ...

    @overload
    def __getitem__(self, which: slice | list[int] | list[bool] | np.ndarray) -> Prediction: ...

    def __getitem__(self, which: Any) -> DetectedObject | Prediction:
        """Return one object by its number, or a prediction of those that a slice, a mask (N,) or indices choose."""
        if isinstance(which, int | np.integer) and not isinstance(which, bool):
            label, score = int(self.labels[which]), None if self.scores is None else float(self.scores[which])
            return DetectedObject(self.class_names[label], label, score, self.boxes[which], self.corners[which])
        if not isinstance(which, slice):
            which = np.asarray(which)
            if which.size == 0:
                which = which.astype(np.int64)
            if (
                which.ndim != 1
                or which.dtype.kind not in "biu"
                or (which.dtype.kind == "b" and len(which) != len(self))
            ):
                raise FormatsError(
                    f"expected a number, a slice, a mask of {len(self)} or a list of numbers, got an array of "
                    f"{which.dtype} {which.shape}"
                )
        return self.select(which)

    def plot(
        self, *, min_side: int = _MIN_SIDE, max_side: int = _MAX_SIDE, legend: bool = True, **options: Any
    ) -> PillowImage:
        """Draw the image with its objects.

        Args:
            min_side: A smaller image is drawn larger, until its longer side has this many px.
            max_side: A larger image is drawn smaller, px.
            legend: Whether objects that have no room for a label get a number and a line below the picture.
            **options: As in `rbox_formats.draw.draw_record`: line_width, show_labels, show_angles.

        Raises:
            ImageError: If the image's file is not there any more.
        """
        if self.path is not None:
            pixels, (record,) = draw.fitted(self.path, self, max_side=max_side)
        elif self.pixels is not None:
            pixels, record = self.pixels, self
        else:
            raise ImageError(f"expected an image for {quoted(self.image_id)}, found none")
        scale = max(1.0, min_side / max(pixels.shape[:2]))
        paint = draw.draw_with_legend if legend else draw.draw_record
        return paint(pixels, record, self.class_names, scale=scale, max_side=max_side, **options)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the picture that `plot` draws.

        Args:
            path: The file; its suffix says the format, such as .png or .jpg.
            **options: As in `plot`.

        Returns:
            The file.

        Raises:
            ImageError: If the format is not known, or the image is not there any more.
        """
        from PIL import Image as PillowImages

        path = files.as_path(path, ImageError)
        kind = PillowImages.registered_extensions().get(path.suffix.lower())
        if kind is None or kind not in PillowImages.SAVE:
            raise ImageError("expected a picture's suffix, such as .png or .jpg", path=path)
        if self.path is not None:
            files.not_an_input(path, self.path)
        with files.replacing(path) as temporary:
            self.plot(**options).save(temporary, format=kind)
        return path

    def show(self, **options: Any) -> None:
        """Open the picture that `plot` draws in the system's viewer."""
        self.plot(**options).show(title=self.image_id)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: those of the image's line in predictions.jsonl."""
        return predictions.to_dict(self)

    def to_geojson(self, *, crs: str | None = None, tolerance: float = 0.0) -> dict[str, Any]:
        """Return a GeoJSON feature collection (`rbox_formats.datasets.geojson`).

        In map coordinates where the image has a place on the map, by its GeoTIFF or a world file; else in its pixels.

        Args:
            crs: The system of coordinates to convert to, such as "EPSG:4326". None: the image's own.
            tolerance: By how many pixels the outlines of masks may be simplified.

        Raises:
            DatasetError: If `crs` is given and the image has no known system, or the tolerance is below 0.
        """
        placement = None if self.path is None else geojson.find_placement(self.path)
        return geojson.collection(self, self.class_names, geojson.projected(placement, crs, self.path), tolerance)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each object.

        Its columns are image_id, name, label, score, and cx, cy, w, h, angle of the box (`le90`, pixels and radians).

        Raises:
            ImportError: If pandas is not installed.
        """
        import pandas as pd

        columns: dict[str, Any] = {"image_id": [self.image_id] * len(self), "name": self.names, "label": self.labels}
        columns["score"] = np.full(len(self), np.nan) if self.scores is None else self.scores
        columns |= dict(zip(("cx", "cy", "w", "h", "angle"), self.boxes.T, strict=True))
        return pd.DataFrame(columns)

    def to_supervision(self) -> Any:
        """Return supervision's `Detections`: upright boxes, and the corners where its rotated annotators look for them.

        Raises:
            ImportError: If supervision is not installed.
        """
        import supervision as sv

        data = {"xyxyxyxy": self.corners, "class_name": np.array(self.names, dtype=str)}
        upright = rbox_to_hbox(self.boxes) if self.quads is None else _upright(self.quads)
        return sv.Detections(xyxy=upright, class_id=self.labels, confidence=self.scores, data=data)

    def _repr_png_(self) -> bytes | None:
        """Return the picture for a notebook; None where the image is not there, so that the text is shown."""
        buffer = BytesIO()
        try:
            self.plot().save(buffer, format="PNG")
        except ImageError:
            return None
        return buffer.getvalue()

    def __repr__(self) -> str:
        counts = Counter(self.names)
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no objects"
        status = "" if self.status in {"boxes", "empty"} else f"; {self.status}"
        return f"<Prediction of {self.image_id!r}: {listed}{status}>"


def _upright(quads: np.ndarray) -> np.ndarray:
    return np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)


def read_predictions(
    path: str | Path, image_files: Iterable[str | Path] | Mapping[str, Path] = ()
) -> Iterator[Prediction]:
    """Read a predictions file as what a detector gives: to be drawn, or written for a map.

    >>> for found in read_predictions("found.jsonl", ["scene.png"]):  # doctest: +SKIP
    ...     found.save(f"{found.image_id}-found.png")

    Args:
        path: The file, or the folder of its parts.
        image_files: The image files that it was made of, or each by its image's id; images of the file that are not
            among them are left out, unless none are given.

    Raises:
        PredictionsError: If the file is not a whole predictions file.
    """
    named = dict(image_files) if isinstance(image_files, Mapping) else images.by_id(image_files)
    found = predictions.stream(path)
    for record in found:
        if not named or record.image_id in named:
            yield Prediction.of(record, found.header.class_names, path=named.get(record.image_id))
