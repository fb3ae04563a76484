"""A sheet of the images with the most errors."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rbox_formats import ClassNames, Dataset, ImageRecord, files, images
from rbox_formats.errors import quoted

from rbox_metrics._matching import ANY_SCORE, FALSE_POSITIVE, TRUE_POSITIVE, choose, match_once, pair, partners
from rbox_metrics._scores import Placement, least_overlaps
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FlagsN, FlagsT, Geometry, ProtocolName

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from rbox_formats.draw import Colour

# The outcomes of boxes: the name of each, and its colour as the label of a class. Errors have thick lines; found truths
# have thin ones, and the detections that found them are not drawn.
MISSED, FALSE, FOUND = "missed", "false", "found"
_COLOURS = {MISSED: 0, FALSE: 39, FOUND: 3}
_MEANING = {
    FOUND: "right: an object that was found (thin)",
    FALSE: "wrong: a false positive, with the detection's class and score",
    MISSED: "missed: an object that was not found, with its class",
}
_COLOUR_PERIOD = 40  # of `rbox_formats.draw.class_colour`
_ERROR_WIDTH, _FOUND_WIDTH = 3.0, 0.8  # px of the sheet
_LETTERS = 15  # px of the sheet; a screen shows it at two thirds of this
_MOST_NAMED = 60  # errors in a tile; names of more would hide it

_TILE, _COLUMNS = 640, 3  # px, the longer side of each picture; how many beside each other
# An image is cut to a window around its errors: this many times as large as one of them.
_ERROR_TO_WINDOW = 6
_LEAST_WINDOW, _MOST_WINDOW = 96, 1600  # px of the image


@dataclass(frozen=True, eq=False)
class Judged:
    """The outcomes of the boxes of one image.

    Attributes:
        truth: The annotations.
        detections: The detections; a record without boxes if there are none.
        found: (T,) whether a detection found each truth.
        missed: (T,) whether no detection found each truth. Difficult truths are neither found nor missed.
        right: (N,) whether each detection found a truth.
        false: (N,) whether each detection is a false positive. Those on difficult truths are neither right nor false.
    """

    truth: ImageRecord
    detections: ImageRecord
    found: FlagsT
    missed: FlagsT
    right: FlagsN
    false: FlagsN

    @property
    def error_corners(self) -> np.ndarray:
        """(E, 4, 2) the corners of missed truths and false positives."""
        return np.concatenate([self.truth.corners[self.missed], self.detections.corners[self.false]])


def worst_images(
    truth: Dataset,
    detections: Iterable[ImageRecord],
    placement: Placement | None,
    path: str | Path,
    *,
    count: int = 12,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Path | None:
    """Draw the images with the lowest F1 on one sheet, the worst first.

    Each tile has the image's name, its F1, and the counts of right and wrong boxes on the whole image. If the image is
    much larger than its errors, the tile shows the part with the most errors. Colours show the outcome of each box:
    thick boxes are errors, with their class unless they are very many; thin boxes are truths that were found. Difficult
    truths and detections on them are not drawn.

    The memory needed is that of the worst images' boxes, and of some rows of one picture.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from rbox_formats import Dataset, ImageRecord
    >>> from rbox_metrics import evaluate
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Path(folder, "P1.png")
    ...     Image.new("RGB", (200, 100)).save(image)
    ...     missed = ImageRecord("P1", np.array([[50, 40, 20, 10, 0.3]]), np.array([0]), path=image)
    ...     truth = Dataset(["ship"], [missed])
    ...     report = evaluate(truth, [], ["ship"], full=True)
    ...     path = worst_images(truth, [], report.placement, f"{folder}/worst.png")
    >>> path.name
    'worst.png'

    Args:
        truth: The ground truth that was scored.
        detections: The detections that were scored, with the classes of the ground truth.
        placement: The placement of the report.
        path: The PNG to write, whole or not at all.
        count: The number of images, at least 1. Images without a file and images without errors are skipped.
        protocol: The protocol of the report.
        geometry: The geometry of the report.

    Returns:
        The path, or None if there is nothing to draw; nothing is written then.

    Raises:
        MetricsError: If the report is not a full one, the count is below 1, or an image of the placement is not in the
            ground truth.
        RboxError: If an image file is broken, or does not have the size of its record.
    """
    from rbox_formats import draw

    if count < 1:
        raise MetricsError(f"expected 1 image or more, got {count}")
    if placement is None:
        raise MetricsError(
            "expected the placement of a full report, got None", remedy="Evaluate with evaluate(..., full=True)."
        )
    records = _worst_records(truth, placement, count)
    if not records:
        return None
    for record in records:
        files.not_an_input(path, record.file)
    judged = judge(records, detections, truth.class_names, placement.iou_threshold, protocol, geometry)
    number = {image: place for place, image in enumerate(placement.images)}
    tiles = []
    for each in judged:
        place = number[each.truth.image_id]
        tiles.append(_tile(each, truth.class_names, caption(placement, place)))
    sheet = draw.contact_sheet(tiles, columns=min(_COLUMNS, len(tiles)), max_cell=None)
    draw.save(under_legend(sheet), path)
    return Path(path)


def caption(placement: Placement, number: int) -> str:
    """Return in words how much is right and wrong on an image."""
    counts = (placement.hits, placement.missed, placement.false_positives)
    hits, missed, false = (int(values[number]) for values in counts)
    return f"F1 {100 * float(placement.f1[number]):.1f} %: {hits} found, {missed} missed, {false} false"


def _worst_records(truth: Dataset, placement: Placement, count: int) -> list[ImageRecord]:
    """Return the records of the worst images that have a file, the worst first."""
    rank = {placement.images[number]: place for place, number in enumerate(placement.worst(len(placement.images)))}
    seen: set[str] = set()

    def candidates() -> Iterable[ImageRecord]:
        for record in truth:
            if record.image_id in rank:
                seen.add(record.image_id)
                if record.path is not None:
                    yield record

    records = heapq.nsmallest(count, candidates(), key=lambda record: rank[record.image_id])
    unknown = [image for image in rank if image not in seen]
    if unknown:
        raise MetricsError(
            f"the ground truth has no image {quoted(unknown[0])}, which is in the placement",
            remedy="Give the dataset whose records were evaluated.",
        )
    return records


def judge(
    records: Sequence[ImageRecord],
    detections: Iterable[ImageRecord],
    class_names: ClassNames,
    iou_threshold: float,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> list[Judged]:
    """Match the boxes of some images one to one by falling score, as `placement_of` does those of all."""
    chosen, geometry = choose(protocol, geometry)
    least = least_overlaps((iou_threshold,), chosen)
    ids = {record.image_id for record in records}
    by_id = {record.image_id: record for record in detections if record.image_id in ids}
    result = []
    for record in records:
        detected = by_id.get(record.image_id)
        if detected is None:
            detected = ImageRecord(record.image_id, np.zeros((0, 5)), np.zeros(0, np.int64))
        paired = pair([record], [detected], class_names, geometry=geometry, least=iou_threshold, across=False)
        n, truths = len(detected), paired.truths
        (outcome,) = match_once(
            paired.ranked,
            np.arange(n),
            truths.difficult,
            paired.scores,
            least,
            np.array([ANY_SCORE]),
        )
        partner, _ = partners(paired.ranked, truths.difficult, float(least[0]), n)
        found = np.zeros(len(truths), dtype=bool)
        found[partner[partner >= 0]] = True
        # Pairing has sorted the truths.
        annotated = replace(
            record,
            boxes=truths.boxes,
            labels=truths.labels,
            quads=truths.quads,
            difficult=truths.difficult,
            masks=truths.masks if record.masks is not None else None,
        )
        missed = ~found & ~truths.difficult
        result.append(Judged(annotated, detected, found, missed, outcome == TRUE_POSITIVE, outcome == FALSE_POSITIVE))
    return result


def window(corners: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of an image (x0, y0, x1, y1), px, with the most errors, and enough of what is around them.

    Args:
        corners: (E, 4, 2) the corners of the errors, at least one.
        width: The width of the image, px.
        height: The height of the image, px.
    """
    extent = np.median(np.ptp(corners, axis=1).max(axis=1))
    side = round(float(np.clip(_ERROR_TO_WINDOW * extent, _LEAST_WINDOW, _MOST_WINDOW)))
    if max(width, height) <= 1.3 * side:
        return 0, 0, width, height
    limits = np.array([width, height])
    sides = np.minimum(side, limits)
    centres = corners.mean(axis=1)
    # Around one of the errors, of a few hundred at most.
    starts = np.clip(np.rint(centres[:: math.ceil(len(centres) / 400)] - sides / 2), 0, limits - sides)
    inside = [np.count_nonzero(((centres >= start) & (centres <= start + sides)).all(axis=1)) for start in starts]
    x, y = starts[int(np.argmax(inside))].astype(int).tolist()
    return x, y, x + int(sides[0]), y + int(sides[1])


def _tile(judged: Judged, class_names: ClassNames, counts: str) -> PillowImage:
    """Draw one image, or a part of it, under its name and counts."""
    from rbox_formats.draw import FAINT_INK, INK

    record = judged.truth
    with images.open_rows(record.file) as rows:
        size = rows.width, rows.height
        if (record.width or size[0], record.height or size[1]) != size:
            raise MetricsError(
                f"expected an image of {record.width}x{record.height} px, got {size[0]}x{size[1]}", path=record.file
            )
        x0, y0, x1, y1 = window(judged.error_corners, *size)
        pixels = rows.read(y0, y1)[:, x0:x1]
    panel = outlined(np.ascontiguousarray(pixels), judged, class_names, (x0, y0))
    part = f"{x1 - x0} x {y1 - y0} px"
    whole = (
        f"{part}, the whole image" if (x1 - x0, y1 - y0) == size else f"{part} at ({x0}, {y0}) of {size[0]} x {size[1]}"
    )

    return headed(panel, ((record.image_id, INK, 19), (counts, INK, 16), (whole, FAINT_INK, 14)))


def headed(panel: PillowImage, lines: Sequence[tuple[str, Colour, int]]) -> PillowImage:
    """Put a picture in the middle of a tile, under lines of text, each with its colour and size, px."""
    from PIL import Image, ImageDraw
    from rbox_formats.draw import PAPER, load_font, shortened

    head = sum(size + 6 for _, _, size in lines) + 8
    tile = Image.new("RGB", (_TILE, head + panel.height), PAPER)
    pen = ImageDraw.Draw(tile)
    y = 4
    for text, colour, size in lines:
        font = load_font(size)
        pen.text((0, y + size), shortened(text, font, _TILE), colour, font, anchor="ls")
        y += size + 6
    tile.paste(panel, ((_TILE - panel.width) // 2, head))
    return tile


def outlined(
    pixels: np.ndarray,
    judged: Judged,
    class_names: ClassNames,
    start: tuple[int, int] = (0, 0),
    found_width: float = _FOUND_WIDTH,
) -> PillowImage:
    """Draw a part of an image, as large as a tile, right boxes in thin lines and the errors over them.

    Args:
        pixels: (height, width, 3) uint8, the part of the image.
        judged: The image's boxes and their outcomes.
        class_names: The classes, in the order of the labels.
        start: The upper left corner of the part, px of the image.
        found_width: The width of the lines of found truths, px of the tile.
    """
    from rbox_formats import draw

    outcomes = ClassNames(f"{colour:02}" for colour in range(_COLOUR_PERIOD))
    scale = _TILE / max(pixels.shape[:2])
    truth, detections = judged.truth, judged.detections
    found, _ = _layer(truth.image_id, [(FOUND, truth, judged.found)], class_names, start)
    canvas = draw.draw_record(
        pixels, found, outcomes, line_width=found_width, show_labels=False, show_angles=False, scale=scale
    )
    parts = [(MISSED, truth, judged.missed), (FALSE, detections, judged.false)]
    errors, texts = _layer(truth.image_id, parts, class_names, start)
    errors = replace(errors, quads=errors.corners * (np.array(canvas.size) / pixels.shape[1::-1]))
    centres = errors.corners.mean(axis=1)
    seen = int(((centres >= 0) & (centres <= canvas.size)).all(axis=1).sum())
    return draw.draw_record(
        canvas,
        errors,
        outcomes,
        line_width=_ERROR_WIDTH,
        show_angles=False,
        show_labels=seen <= _MOST_NAMED,
        texts=texts,
        label_size=_LETTERS,
        leaders=True,
    )


def _layer(
    image_id: str,
    parts: Sequence[tuple[str, ImageRecord, np.ndarray]],
    class_names: ClassNames,
    start: tuple[int, int],
) -> tuple[ImageRecord, list[str]]:
    """Return boxes of some outcomes as one record of outlines, labelled by colour, and the text at each box.

    The texts do not repeat what the colours say.
    """
    texts = [
        class_names[int(record.labels[i])] + ("" if record.scores is None else f" {record.scores[i]:.2f}")
        for _, record, which in parts
        for i in np.flatnonzero(which)
    ]
    return ImageRecord(
        image_id,
        boxes=np.concatenate([record.boxes[which] for _, record, which in parts]),
        quads=np.concatenate([record.corners[which] for _, record, which in parts]) - start,
        labels=np.repeat(
            [_COLOURS[outcome] for outcome, _, _ in parts], [int(which.sum()) for _, _, which in parts]
        ).astype(np.int64),
    ), texts


def under_legend(sheet: PillowImage) -> PillowImage:
    """Return the sheet below a legend of its colours."""
    from PIL import Image
    from rbox_formats.draw import PAPER, draw_legend

    margin = 12
    texts = [(_COLOURS[outcome], text) for outcome, text in _MEANING.items()]
    legend = draw_legend(sheet.width - 2 * margin, texts, size=_LETTERS + 3)
    if legend is None:
        return sheet
    page = Image.new("RGB", (sheet.width, sheet.height + legend.height + margin), PAPER)
    page.paste(legend, (margin, margin))
    page.paste(sheet, (0, legend.height + margin))
    return page
