"""Overlaps of masks, by COCO's library: faster-coco-eval, or pycocotools where that is not installed."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from rbox_formats.masks import Mask, Masks

from rbox_metrics._overlaps._search import Pairs, overlapping_pairs
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import BoxesN, FlagsT, IntsN, IntsT

# The libraries count pixels in 32 bits.
_MOST_PIXELS = 2**32 - 1
_LEAST = 1e-12
_INSTALL = 'Install it: pip install "rbox-metrics[masks]".'


def library(boundary: bool = False) -> Any:
    """Return the module with the functions of COCO's masks.

    Args:
        boundary: Whether boundaries of masks are compared too, which pycocotools cannot.

    Raises:
        MetricsError: If none is installed.
    """
    names = ["faster_coco_eval.core.mask"] if boundary else ["faster_coco_eval.core.mask", "pycocotools.mask"]
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    also = "" if boundary else " or pycocotools"
    raise MetricsError(f"expected faster-coco-eval{also} for the overlaps of masks, found none", remedy=_INSTALL)


def overlapping_masks(
    detections: Masks,
    detection_group: IntsN,
    truths: Masks,
    truth_group: IntsT,
    least: float,
    *,
    crowds: FlagsT,
    sizes: np.ndarray,
    boundary: bool = False,
) -> Pairs:
    """Return the pairs of a detection and a truth of one group whose masks overlap by `least` (above 0) or more.

    The overlap with a crowd is the share of the detection's pixels that are in it, as in COCO.

    Args:
        detections: N masks as runs, inside their images.
        detection_group: (N,) whole numbers, the group of each detection; a group is on one image.
        truths: T masks as runs, inside their images.
        truth_group: (T,) whole numbers, the group of each truth.
        least: The least overlap, above 0 and at most 1.
        crowds: (T,) whether each truth is a crowd.
        sizes: (N, 2) the (width, height) of each detection's image in pixels; zeros where it is unknown.
        boundary: Whether the overlap is the smaller one of that of the masks and that of their boundaries, which are as
            wide as 2 % of the image's diagonal (Cheng et al., "Boundary IoU", 2021). Of crowds only masks count.

    Returns:
        The pairs, sorted by detection.

    Raises:
        MetricsError: If no library is installed, or an image's size is too large, or unknown for boundaries.
    """
    coco = library(boundary)
    near = overlapping_pairs(_upright(detections), detection_group, _upright(truths), truth_group, _LEAST)
    begins = np.flatnonzero(np.diff(near.detection, prepend=-1))
    encoded: dict[int, _Encoded] = {}
    iou = np.zeros(len(near.detection))
    for first, last in pairwise([*begins.tolist(), len(near.detection)]):
        d, them = int(near.detection[first]), near.truth[first:last].tolist()
        width, height = sizes[d].tolist()
        flags = crowds[them].astype(int).tolist()
        if 0 < width * height <= _MOST_PIXELS:
            one = _encoded(detections[d], width, height, coco if boundary else None)
            for t in them:
                if t not in encoded:
                    encoded[t] = _encoded(truths[t], width, height, coco if boundary else None)
            others = [encoded[t] for t in them]
        elif boundary:
            raise MetricsError(
                "expected images of known size, of less than 2**32 pixels, for the boundaries of masks",
                remedy="Compare masks (geometry 'mask'), or cut the images into windows.",
            )
        else:
            one, *others = _in_one_frame([detections[d], *(truths[t] for t in them)])
        found = _overlaps(coco, [one.mask], [other.mask for other in others], flags)
        if boundary:
            edges = _overlaps(coco, [one.boundary], [other.boundary for other in others], flags)
            found = np.where(crowds[them], found, np.minimum(found, edges))
        iou[first:last] = found
    enough = iou >= least
    return Pairs(near.detection[enough], near.truth[enough], iou[enough])


class _Encoded(NamedTuple):
    """A mask and its boundary as the libraries take them."""

    mask: dict[str, Any]
    boundary: dict[str, Any] | None


def _encoded(mask: Mask, width: int, height: int, coco: Any) -> _Encoded:
    """Return a mask for the library, with its boundary if the library is given."""
    value: Any = mask.to_coco(width, height)
    found = {"size": value["size"], "counts": value["counts"].encode()}
    return _Encoded(found, None if coco is None else coco.rleToBoundary(found))


def _overlaps(coco: Any, first: list[Any], second: list[Any], crowds: list[int]) -> np.ndarray:
    return np.asarray(coco.iou(first, second, crowds), dtype=np.float64).reshape(-1)


def _in_one_frame(masks: list[Mask]) -> list[_Encoded]:
    """Return masks as run lengths of the smallest image that holds all of them: where they lie does not matter."""
    bounds = np.array([mask.bounds for mask in masks])
    x, y = bounds[:, :2].min(axis=0)
    width, height = (math.ceil(end) for end in bounds[:, 2:].max(axis=0) - (x, y))
    if width * height > _MOST_PIXELS:
        raise MetricsError(
            "expected masks that lie in fewer than 2**32 pixels together with those near them, got larger ones",
            remedy="Cut the images into windows.",
        )
    return [_encoded(mask.moved(-x, -y), width, height, None) for mask in masks]


def _upright(masks: Masks) -> BoxesN:
    low, high = masks.bounds[:, :2], masks.bounds[:, 2:]
    return np.concatenate([(low + high) / 2, high - low, np.zeros((len(masks), 1))], axis=1)
