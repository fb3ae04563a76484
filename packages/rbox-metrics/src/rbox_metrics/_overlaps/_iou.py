"""Overlaps of rotated boxes and of quads."""

from __future__ import annotations

from typing import Any

import numpy as np

from rbox_metrics._inputs import check_aligned, check_backend, check_boxes, check_quads, first_tensor, like
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Backend, BoxesM, BoxesN, Mode, QuadsM, QuadsN


def box_iou_rotated(
    boxes1: Any, boxes2: Any, *, aligned: bool = False, mode: Mode = "iou", backend: Backend = "auto"
) -> Any:
    """Return the overlaps of rotated boxes: the common area over that of the union, or of the first box.

    >>> box_iou_rotated([[50, 40, 20, 10, 0.0]], [[55, 40, 20, 10, 0.0], [50, 40, 10, 20, 0.0]]).round(3).tolist()
    [[0.6, 0.333]]

    Args:
        boxes1: (N, 5) as (cx, cy, w, h, angle), in pixels and radians, with any angle and the sides in any order. An
            array, a list or a torch tensor.
        boxes2: (M, 5) as (cx, cy, w, h, angle).
        aligned: Whether to compare pairs, boxes1[k] with boxes2[k]; N and M must then be equal.
        mode: "iou", intersection over union, or "iof", intersection over the area of the box in `boxes1`.
        backend: "numba" computes on all CPU threads, "reference" with shapely, both in float64. "triton" computes on
            the GPU, or on the CPU if TRITON_INTERPRET=1 is set: offsets between the boxes in float64, the rest in
            float32, with errors up to 2e-6 for sides from 1e-3 to 1e4 px. "auto" is "triton" for tensors on a GPU, else
            "numba".

    Returns:
        (N, M) from 0 to 1, or (N,) if `aligned`: float64, or float32 from "triton". For torch tensors, a tensor on
        their device, without gradient (see `diff_iou_rotated`). A box without area overlaps nothing, not even itself.
        "iou" is symmetric to the last bit, and 1 for identical boxes.

    Raises:
        MetricsError: If a box is not finite, has a negative side, or the shapes do not fit.
    """
    return _overlaps(boxes1, boxes2, "boxes", aligned, mode, backend)


def quad_iou(quads1: Any, quads2: Any, *, aligned: bool = False, mode: Mode = "iou", backend: Backend = "auto") -> Any:
    """Return the overlaps of quads, convex or not: the common area over that of the union, or of the first quad.

    >>> square, arrow = [[0, 0], [2, 0], [2, 2], [0, 2]], [[0, 0], [2, 0], [0.5, 0.5], [0, 2]]
    >>> quad_iou([square], [arrow]).tolist()
    [[0.25]]

    It does not matter which corner comes first and in which direction they run. A quad that crosses itself is read as
    the convex quad with the same corners: its two crossing edges become diagonals.

    Args:
        quads1: (N, 4, 2) corners as (x, y), in pixels. An array, a list or a torch tensor.
        quads2: (M, 4, 2) corners as (x, y), in pixels.
        aligned: Whether to compare pairs, quads1[k] with quads2[k]; N and M must then be equal.
        mode: "iou", intersection over union, or "iof", intersection over the area of the quad in `quads1`.
        backend: As in `box_iou_rotated`, but "triton" computes in float64 too. "reference", like GEOS, finds no common
            area for some quads whose edges almost coincide.

    Returns:
        (N, M) float64 from 0 to 1, or (N,) if `aligned`. For torch tensors, a tensor on their device. A quad without
        area overlaps nothing. "iou" is symmetric to the last bit, and 1 for identical quads.

    Raises:
        MetricsError: If a corner is not finite or the shapes do not fit.
    """
    return _overlaps(quads1, quads2, "quads", aligned, mode, backend)


def _overlaps(values1: Any, values2: Any, what: str, aligned: bool, mode: str, backend: str) -> Any:
    if mode not in ("iou", "iof"):
        raise MetricsError(f"expected mode 'iou' or 'iof', got {mode!r}")
    check_backend(backend)
    tensor = first_tensor(values1, values2)
    if backend == "triton" or (backend == "auto" and tensor is not None and tensor.is_cuda):
        from rbox_metrics._overlaps import _triton

        return _triton.overlaps(values1, values2, what, aligned, mode == "iof")
    check = check_boxes if what == "boxes" else check_quads
    first, second = check(values1, f"{what}1"), check(values2, f"{what}2")
    if aligned:
        check_aligned(len(first), len(second), what)
    by = _by_shapely if backend == "reference" else _by_numba
    return like(by(first, second, aligned, mode == "iof"), values1, values2)


def _by_shapely(first: BoxesN | QuadsN, second: BoxesM | QuadsM, aligned: bool, iof: bool) -> np.ndarray:
    from rbox_metrics._overlaps import _reference

    return (_reference.overlaps_of_pairs if aligned else _reference.overlaps_dense)(first, second, iof)


def _by_numba(first: BoxesN | QuadsN, second: BoxesM | QuadsM, aligned: bool, iof: bool) -> np.ndarray:
    from rbox_metrics._overlaps._search import kernels_for

    kernels = kernels_for(first)
    if aligned:
        return kernels.overlaps_aligned(first, second, iof)
    return kernels.overlaps_dense(kernels.shapes(first), kernels.shapes(second), iof)
