"""Find the objects that a window holds, and convert between the pixels of a window and those of its image."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry import area_inside, as_shapes, check_choice, clip_to_rbox, quad_area, rbox_to_quad
from rbox_formats._records import ImageRecord
from rbox_formats.arrays import to_numpy
from rbox_formats.errors import FormatsError
from rbox_formats.masks import Masks
from rbox_formats.tiling._windows import NamedWindow, Window
from rbox_formats.typing import BoxesN, BoxesOrQuadsN, FlagsN, QuadsN, ScoresN

Border: TypeAlias = Literal["keep", "clip"]
Below: TypeAlias = Literal["drop", "difficult"]

# Shares of an object's area that differ by less count as equal, and a smaller one as zero, since areas inside a large
# window are sums of far larger numbers, with rounding errors.
_ROUNDING = 1e-9


def belonging(record: ImageRecord, window: Window, iof_threshold: float = 0.7) -> FlagsN:
    """Return which of an image's objects belong to a window (N,); see `clip_to_window`.

    >>> from rbox_formats import ImageRecord, tiling
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0], [150, 40, 30, 10, 0]], labels=[0, 0])
    >>> tiling.belonging(record, tiling.Window(0, 0, 100)).tolist()
    [True, False]
    """
    share, by_centre = _shares(record.corners, record, window)
    return by_centre | _is_enough(share, iof_threshold)


def clip_to_window(
    record: ImageRecord,
    window: Window,
    iof_threshold: float = 0.7,
    *,
    border: Border = "keep",
    below: Below = "drop",
) -> ImageRecord:
    """Return the image's objects that belong to a window, in the pixels of the shown window.

    Of an object with a mask, the mask says how much of it is inside. The part of the mask in the window and on the
    image stays.

    >>> from rbox_formats import ImageRecord, tiling
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0], [150, 40, 30, 10, 0]], labels=[0, 0])
    >>> tiling.clip_to_window(record, tiling.Window(100, 0, 100)).boxes.tolist()
    [[50.0, 40.0, 30.0, 10.0, 0.0]]

    Args:
        record: The image.
        window: The window.
        iof_threshold: The share of an object's area on the image that must lie inside the window; for an object without
            area on the image, its centre must.
        border: What to do with an outline that the window's border cuts: "keep" keeps the whole outline; "clip" takes
            the minimum-area rectangle of the part inside the window and on the image, as box and as quad; of an object
            with a mask, that of the mask's part.
        below: What to do with objects that are inside, but with less than the threshold: "drop" leaves them out,
            "difficult" marks them as difficult.

    Returns:
        A record of width and height `window.output_size`.

    Raises:
        FormatsError: If the threshold is not in [0, 1], or `border` or `below` has another value.
    """
    check_choice(border, get_args(Border), "border as")
    check_choice(below, get_args(Below), "below as")
    quads = record.corners
    share, by_centre = _shares(quads, record, window)
    enough = by_centre | _is_enough(share, iof_threshold)
    chosen = np.flatnonzero(enough | _is_enough(share, 0.0) if below == "difficult" else enough)
    part = record.select(chosen)
    boxes, own_quads = part.boxes, part.quads
    masks = None if part.masks is None else part.masks.clipped(*_seen(record, window).tolist())
    if border == "clip":
        boxes, own_quads = _clipped(part, quads[chosen], share[chosen] > 0, window, record, masks)
    return ImageRecord(
        image_id=part.image_id,
        boxes=_moved(boxes, window),
        labels=part.labels,
        quads=None if own_quads is None else _moved(own_quads, window),
        difficult=part.difficult | ~enough[chosen],
        scores=part.scores,
        path=part.path,
        width=window.output_size,
        height=window.output_size,
        metadata=part.metadata,
        masks=None if masks is None else masks.moved(-window.x, -window.y).scaled(window.scale, window.scale),
    )


@overload
def to_image(shapes: Masks, window: Window | NamedWindow) -> Masks: ...


@overload
def to_image(shapes: ArrayLike, window: Window | NamedWindow) -> BoxesOrQuadsN: ...


def to_image(shapes: ArrayLike | Masks, window: Window | NamedWindow) -> BoxesOrQuadsN | Masks:
    """Convert boxes (N, 5), quads (N, 4, 2) or masks from the pixels of a window to those of its image.

    >>> from rbox_formats import tiling
    >>> tiling.to_image([[50.0, 40, 30, 10, 0]], tiling.Window(100, 0, 100)).tolist()
    [[150.0, 40.0, 30.0, 10.0, 0.0]]

    Raises:
        FormatsError: If `shapes` is none of them.
    """
    if isinstance(shapes, Masks):
        return shapes.scaled(1 / window.scale, 1 / window.scale).moved(window.x, window.y)
    given = as_shapes(to_numpy(shapes, "boxes or quads"), "boxes", "quads")
    corner = np.array([window.x, window.y], dtype=np.float64)
    if given.ndim == 3:
        return given / window.scale + corner
    centres = given[:, :2] / window.scale + corner
    return np.concatenate([centres, given[:, 2:4] / window.scale, given[:, 4:]], axis=1)


def _moved(shapes: BoxesOrQuadsN, window: Window) -> BoxesOrQuadsN:
    """Convert the other way round: from the image to the shown window."""
    corner = np.array([window.x, window.y], dtype=np.float64)
    if shapes.ndim == 3:
        return (shapes - corner) * window.scale
    centres = (shapes[:, :2] - corner) * window.scale
    return np.concatenate([centres, shapes[:, 2:4] * window.scale, shapes[:, 4:]], axis=1)


def _is_enough(share: ScoresN, iof_threshold: float) -> FlagsN:
    """Return which shares reach a threshold; a threshold of zero is reached by any share above zero."""
    if not 0 <= iof_threshold <= 1:
        raise FormatsError(f"expected a share of an object as threshold, from 0 to 1, got {iof_threshold}")
    return share >= max(iof_threshold * (1 - _ROUNDING), _ROUNDING)


def _seen(record: ImageRecord, window: Window) -> Any:
    """Return the window's part on the image as (x0, y0, x1, y1), or the whole window for an image of unknown size."""
    low, high = np.array(window.corners, dtype=np.float64).reshape(2, 2)
    if record.width is not None and record.height is not None:
        low = np.maximum(low, 0)
        high = np.maximum(np.minimum(high, [record.width, record.height]), low)
    return np.concatenate([low, high])


def _shares(quads: QuadsN, record: ImageRecord, window: Window) -> tuple[ScoresN, FlagsN]:
    """Return the share of each object's area on the image that is inside (N,), and whether its centre is (N,)."""
    if record.masks is not None:
        return _shares_of_masks(record.masks, record, window)
    inside, whole = area_inside(quads, _seen(record, window)), quad_area(quads)
    on_image = whole
    if record.width is not None and record.height is not None:
        on_image = area_inside(quads, (0.0, 0.0, float(record.width), float(record.height)))
    has_area = on_image > _ROUNDING * whole
    centres, corners = quads.mean(axis=1), np.array(window.corners)
    by_centre = ~has_area & ((centres >= corners[:2]) & (centres < corners[2:])).all(axis=1)
    return np.divide(inside, on_image, out=np.zeros_like(inside), where=has_area), by_centre


def _shares_of_masks(masks: Masks, record: ImageRecord, window: Window) -> tuple[ScoresN, FlagsN]:
    """Return the share of each mask's area on the image that is inside (N,), and that none belongs by its centre."""
    seen, share = _seen(record, window), np.zeros(len(masks))
    near = np.flatnonzero(((masks.bounds[:, :2] < seen[2:]) & (masks.bounds[:, 2:] > seen[:2])).all(axis=1))
    inside = masks[near].clipped(*seen.tolist()).areas
    on_image = masks.areas[near]
    if record.width is not None and record.height is not None:
        beyond = ((masks.bounds[near, :2] < 0) | (masks.bounds[near, 2:] > record.size)).any(axis=1)
        on_image[beyond] = masks[near[beyond]].clipped(0, 0, record.width, record.height).areas
    share[near] = np.divide(inside, on_image, out=np.zeros(len(near)), where=on_image > 0)
    return share, np.zeros(len(masks), dtype=bool)


def _clipped(
    part: ImageRecord, quads: QuadsN, has_area: FlagsN, window: Window, image: ImageRecord, masks: Masks | None
) -> tuple[BoxesN, QuadsN | None]:
    """Return boxes and quads; those that the border cuts become the minimum-area rectangles of what is left."""
    seen = _seen(image, window)
    # A line or a point, which is inside by its centre, stays unchanged.
    cut = np.flatnonzero(has_area & ((quads < seen[:2]) | (quads > seen[2:])).any(axis=(1, 2)))
    boxes, own_quads = part.boxes.copy(), None if part.quads is None else part.quads.copy()
    if part.masks is not None and masks is not None:
        outside = (part.masks.bounds[:, :2] < seen[:2]) | (part.masks.bounds[:, 2:] > seen[2:])
        cut = np.flatnonzero(outside.any(axis=1))
        boxes[cut] = masks[cut].to_rboxes()
    else:
        boxes[cut] = clip_to_rbox(quads[cut], seen)
    if own_quads is not None:
        own_quads[cut] = rbox_to_quad(boxes[cut])
    return boxes, own_quads
