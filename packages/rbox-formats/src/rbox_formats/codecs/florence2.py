"""Florence-2's text of quads, as LMMRotate extends it to rotated boxes.

    ship<loc_135><loc_796>...<loc_..><sep><loc_..>...plane<loc_..>...

Source: Li-Qingyun/mllm-mmrotate @f0e3706 and VisionXLab/mllm-mmrotate @73ad654 (`playground/convert_dota_for_sft.py`).

- Scale: 1,000 bins an axis, x over the width and y over the height; `bin = floor(v / (size / 1000))`, clamped to 0..999
  corner by corner, so that a box cut by the border is no longer a rectangle; back to the bin's centre,
  `v = (bin + 0.5) * size / 1000`: half a bin of error at most, but for clamped corners.
- Corners: x before y, counter-clockwise on the screen, from the topmost (of equals, the leftmost).
- Order: by class (names with '-' as ' ', sorted by code point), then by the first corner's bins, y before x.
- Names: lower case, '-' as ' '.
- Versions: 1 writes the quads of a class one after the other, 2 puts `<sep>` between them, 3 answers "There are none."
  for an image without objects (1 and 2 have no such answer).
- Rotation is held by the corners: no angle, no sign.

`decode` differs from the source in what it does with broken text: it keeps every complete quad, drops the rest by name
instead of in silence, rejects coordinates beyond 999, and rejects unknown classes instead of taking the nearest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ClassNames
from rbox_formats._typing import BinsN, BoxesOrQuadsN, LabelsN, QuadsN
from rbox_formats.codecs._base import Codec, Decoded, Rejected, Status, find_label
from rbox_formats.errors import CodecError

BINS = 1000
_NONE = "There are none."
_END, _IGNORED = "</s>", ("<s>", "<pad>")

# A text is groups of a name and the tags behind it; the tags are runs of coordinates, separators, and what else is in
# angle brackets, the last one perhaps cut short. No character can be matched in two ways, so the time is linear.
_GROUP = re.compile(r"([^<]*)((?:<[^<>]*>?\s*)*)")
_COORDINATE = r"<loc_([0-9]{1,9})>\s*"
_PIECE = re.compile(rf"((?:{_COORDINATE})+)|<[^<>]*>?")
_QUAD = re.compile(_COORDINATE * 8)


@dataclass(frozen=True)
class Florence2(Codec):
    """Florence-2 quads in LMMRotate's versions 1, 2 and 3; see the module's text.

    Attributes:
        version: 1, 2 or 3; 2 is that of LMMRotate's paper and published checkpoints.
    """

    version: int = 2

    name: ClassVar[str] = "florence2"
    prompt: ClassVar[str] = "Locate the objects tightly with quad boxes and category names in the image."

    def __post_init__(self) -> None:
        if self.version not in (1, 2, 3):
            raise CodecError(f"expected version 1, 2 or 3 of florence2, got {self.version!r}")

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The 1,000 coordinate tokens and `<sep>`: Florence-2's own."""
        return (*(f"<loc_{i}>" for i in range(BINS)), "<sep>")

    @property
    def empty_answer(self) -> str | None:
        """Version 3's "There are none."."""
        return _NONE if self.version == 3 else None

    def encode(
        self,
        boxes: BoxesOrQuadsN,
        labels: LabelsN,
        class_names: ClassNames,
        image_size: tuple[int, int],
        input_size: tuple[int, int] | None = None,
    ) -> str:
        """Writes boxes or quads as text; see `Codec.encode`."""
        unwritable = [name for name in class_names if "<" in name]
        if unwritable:
            raise CodecError(f"expected class names without '<', which begins a token, got {unwritable[0]!r}")
        if not np.isfinite(boxes).all():
            raise CodecError(
                f"expected finite boxes, got {boxes[~np.isfinite(boxes).reshape(len(boxes), -1).all(axis=1)][0]}"
            )
        bins = _quantised(boxes, image_size)
        between = "" if self.version == 1 else "<sep>"
        parts, previous = [], None
        for i in _reading_order(bins, labels, class_names):
            label = int(labels[i])
            parts.append(between if label == previous else _written(class_names[label]).lower())
            parts.extend(f"<loc_{b}>" for b in bins[i])
            previous = label
        return "".join(parts) or self.empty_answer or ""

    def order(
        self, boxes: BoxesOrQuadsN, labels: LabelsN, class_names: ClassNames, image_size: tuple[int, int]
    ) -> LabelsN:
        """By class, then by the first corner, y before x; see `Codec.order`."""
        return _reading_order(_quantised(boxes, image_size), labels, class_names)

    def _decode(
        self,
        text: str,
        class_names: ClassNames,
        image_size: tuple[int, int],
        input_size: tuple[int, int] | None,
        near_match: float | None,
    ) -> Decoded:
        body, end, _ = text.partition(_END)
        quads: list[list[int]] = []
        labels: list[int] = []
        rejected: list[Rejected] = []
        near_matches: list[tuple[str, str]] = []
        label_spans: list[tuple[int, int]] = []
        number_spans: list[tuple[tuple[int, int], ...]] = []
        open_end = False  # the text stops where an object is not complete

        for group in _GROUP.finditer(body):
            name, name_span = _stripped(group[1], group.start(1))
            label = find_label(name, class_names, near_match)
            has_coordinates = False
            quads_before = len(quads)
            for piece in _PIECE.finditer(body, *group.span(2)):
                open_end = piece[0] == "<sep>"
                if piece[1]:
                    has_coordinates = True
                    if label is None:
                        reason = f"an unknown class {name!r}" if name else "coordinates without a class name"
                        rejected.append(Rejected(*piece.span(), reason))
                        continue
                    rest = piece.start()
                    for quad in _QUAD.finditer(body, *piece.span()):
                        rest = quad.end()
                        bins = [int(value) for value in quad.groups()]
                        if max(bins) >= BINS:
                            rejected.append(Rejected(*quad.span(), f"a coordinate beyond {BINS - 1}"))
                            continue
                        quads.append(bins)
                        labels.append(label)
                        label_spans.append(name_span)
                        number_spans.append(quad.regs[1:])
                    if rest < piece.end():
                        count = body.count("<", rest, piece.end())
                        rejected.append(Rejected(rest, piece.end(), f"{count} coordinates where a quad has 8"))
                        open_end = piece.end() == len(body)
                elif not piece[0].endswith(">"):
                    rejected.append(Rejected(*piece.span(), "a tag cut short"))
                    open_end = piece.end() == len(body)
                elif piece[0] not in ("<sep>", *_IGNORED):
                    rejected.append(Rejected(*piece.span(), "an unknown tag"))
            if label is not None and len(quads) > quads_before and class_names.find(name) is None:
                near_matches.append((name, class_names[label]))
            if name and not has_coordinates and not (name == _NONE and not labels):
                rejected.append(Rejected(*name_span, "a name without coordinates"))
                open_end = group.end(1) == len(body) and _begins_a_class(name, class_names)

        # The brackets of a coordinate are its own: spans are of the tokens, not of the digits in them.
        tokens = [[(start - len("<loc_"), stop + len(">")) for start, stop in spans] for spans in number_spans]
        return Decoded.from_quads(
            quads=(np.array(quads, dtype=np.float64).reshape(-1, 4, 2) + 0.5) * (np.array(image_size) / BINS),
            labels=labels,
            status=_status(body, bool(labels), truncated=open_end and not end),
            rejected=sorted(rejected),
            near_matches=near_matches,
            label_spans=label_spans,
            number_spans=tokens,
        )


def _written(name: str) -> str:
    return name.replace("-", " ")


def _quantised(boxes: BoxesOrQuadsN, image_size: tuple[int, int]) -> BinsN:
    """The eight bins of each box or quad (N, 8), from the corner that is written first."""
    quads = _ordered_corners(boxes if boxes.ndim == 3 else rbox_to_quad(boxes))
    scaled = np.floor(quads / (np.array(image_size, dtype=np.float64) / BINS))
    return np.clip(scaled, 0, BINS - 1).astype(np.int64).reshape(-1, 8)


def _reading_order(bins: BinsN, labels: LabelsN, class_names: ClassNames) -> LabelsN:
    by_name = sorted(range(len(class_names)), key=lambda label: _written(class_names[label]))
    ranks = np.empty(len(class_names), dtype=np.int64)
    ranks[by_name] = np.arange(len(class_names))
    return np.lexsort((bins[:, 0], bins[:, 1], ranks[labels]))


def _stripped(text: str, start: int) -> tuple[str, tuple[int, int]]:
    """A text without the spaces around it, and its place."""
    words = text.strip()
    start += len(text) - len(text.lstrip())
    return words, (start, start + len(words))


def _begins_a_class(text: str, class_names: ClassNames) -> bool:
    return any(_written(name).lower().startswith(text.lower()) for name in class_names)


def _status(body: str, has_boxes: bool, *, truncated: bool) -> Status:
    if truncated:
        return "truncated"
    if has_boxes:
        return "boxes"
    for tag in _IGNORED:
        body = body.replace(tag, "")
    return "empty" if body.strip() in ("", _NONE) else "failed"


def _ordered_corners(quads: QuadsN) -> QuadsN:
    """Each quad's corners counter-clockwise on the screen, from the topmost, of equals the leftmost."""
    centred = quads - quads.mean(axis=1, keepdims=True)
    around = np.argsort(-np.arctan2(centred[..., 1], centred[..., 0]), axis=1, kind="stable")
    ordered = np.take_along_axis(quads, around[..., None], axis=1)
    first = np.lexsort((ordered[..., 0], ordered[..., 1]), axis=1)[:, :1]
    return np.take_along_axis(ordered, ((first + np.arange(4)) % 4)[..., None], axis=1)
