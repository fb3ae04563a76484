"""Overlaps on the GPU: one Triton kernel, launched once over all pairs, whether listed, aligned or dense.

The formulas are those of `_kernels` and `_quad_kernels`. For boxes, the distance of the centres (in the frame of the
smaller box) and the angle between the boxes are computed in float64, and only then rounded to float32: large
coordinates, small boxes and thin boxes lose no digits. Measured overlaps were within 6e-7 of those in float64, for
sides from 1e-3 to 1e4 px at an offset of 1e5 px. Quads are computed in float64 throughout, since their sum cancels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rbox_metrics._inputs import check_aligned, check_boxes, check_quads, first_tensor
from rbox_metrics.errors import MetricsError

try:
    import torch

    from rbox_metrics._overlaps import _triton_kernels
except ModuleNotFoundError as error:
    raise MetricsError(
        f"expected torch and triton for backend='triton', got no {error.name}",
        remedy="pip install 'rbox-metrics[gpu]'",
    ) from error

# Which pairs a launch computes.
_ALIGNED, _DENSE, _LISTED = range(3)


def overlaps(values1: Any, values2: Any, what: str, aligned: bool, iof: bool) -> Any:
    """Compute `box_iou_rotated` (`what` is "boxes") or `quad_iou` ("quads") on a GPU."""
    tensor = first_tensor(values1, values2)
    device = _device(tensor)
    shapes1, shapes2 = (
        _shapes(_checked(values, f"{what}{number}", what, device)) for number, values in ((1, values1), (2, values2))
    )
    n, m = len(shapes1), len(shapes2)
    if aligned:
        check_aligned(n, m, what)
    result = _launch(shapes1, shapes2, None, None, _ALIGNED if aligned else _DENSE, iof, n if aligned else n * m)
    result = result if aligned else result.reshape(n, m)
    return result.cpu().numpy() if tensor is None else result.to(tensor.device)


def overlaps_of_pairs(values1: Any, values2: Any, first: Any, second: Any, iof: bool = False) -> Any:
    """Return the overlap of values1[first[k]] and values2[second[k]] for each k.

    Args:
        values1: (N, 5) boxes or (N, 4, 2) quads, a checked tensor.
        values2: (M, 5) boxes or (M, 4, 2) quads, a checked tensor.
        first: (K,) int64 indices into `values1`, on the same device.
        second: (K,) int64 indices into `values2`, on the same device.
        iof: Whether to divide by the first area instead of the area of the union.

    Returns:
        (K,) float32 for boxes, float64 for quads.
    """
    return _launch(_shapes(values1), _shapes(values2), first, second, _LISTED, iof, len(first))


def _device(tensor: Any) -> Any:
    """Return where to compute: the first tensor's GPU, any GPU, or the CPU where Triton interprets its kernels."""
    if tensor is not None and tensor.is_cuda:
        return tensor.device
    if _triton_kernels.INTERPRETED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise MetricsError(
            "expected a GPU for backend='triton', got none",
            remedy="Set TRITON_INTERPRET=1 before triton is imported to try the kernels on the CPU, slowly.",
        )
    return torch.device("cuda")


def _checked(values: Any, name: str, what: str, device: Any) -> Any:
    """Return boxes or quads as a tensor on the device, of float32 or float64."""
    check, ndim, last = (check_boxes, 2, (5,)) if what == "boxes" else (check_quads, 3, (4, 2))
    if first_tensor(values) is None:
        return torch.from_numpy(check(values, name)).to(device)
    values = values.detach()
    fits = values.ndim == ndim and tuple(values.shape[1:]) == last and values.dtype in (torch.float32, torch.float64)
    # One answer from the device. If anything is wrong, the check on the CPU says what.
    if fits and bool(_plain(values) if what == "boxes" else torch.isfinite(values).all()):
        return values.to(device)
    return torch.from_numpy(check(values, name)).to(device)


def _plain(boxes: Any) -> Any:
    sides, angles = boxes[:, 2:4], boxes[:, 4]
    return torch.isfinite(boxes).all() & (sides >= 0).all() & (angles.abs() <= 2 * np.pi).all()


def _shapes(values: Any) -> Any:
    """Return what the kernels read: (N, 8) float64 centre, half sides, cosine, sine, area; see `_quad_shapes`."""
    values = values.to(torch.float64)
    if values.ndim == 2:
        cos, sin = torch.cos(values[:, 4]), torch.sin(values[:, 4])
        # As in `_kernels`: upright boxes stay upright.
        cos, sin = (torch.where(value.abs() < 1e-15, 0.0, value) for value in (cos, sin))
        half = values[:, 2:4] / 2
        columns = (values[:, 0], values[:, 1], half[:, 0], half[:, 1], cos, sin, 4 * half[:, 0] * half[:, 1])
        return torch.stack([*columns, torch.zeros_like(cos)], dim=1)
    return _quad_shapes(values)


def _quad_shapes(quads: Any) -> Any:
    """Return x, y and area as `_quad_kernels.shapes` does: (N, 9)."""
    for start, order in ((0, [0, 2, 1, 3]), (1, [0, 1, 3, 2])):
        # Never both: four edges cannot cross twice.
        corners = [quads[:, (start + k) % 4] for k in range(4)]
        crossing = _crossing(*corners)
        quads = torch.where(crossing[:, None, None], quads[:, order], quads)
    p, q = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    twice = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    quads = torch.where((twice < 0)[:, None, None], quads[:, [0, 3, 2, 1]], quads)
    x, y = quads.unbind(2)
    leftmost = x == x.amin(1, keepdim=True)
    first = torch.where(leftmost, y, torch.inf).argmin(1)
    places = (first[:, None] + torch.arange(4, device=quads.device)) % 4
    return torch.cat([x.gather(1, places), y.gather(1, places), twice.abs()[:, None] / 2], dim=1).contiguous()


def _crossing(a: Any, b: Any, c: Any, d: Any) -> Any:
    def side(p: Any, q: Any, r: Any) -> Any:
        return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def _launch(shapes1: Any, shapes2: Any, first: Any, second: Any, pairs: int, iof: bool, count: int) -> Any:
    boxes = shapes1.shape[1] == 8
    result = torch.empty(count, dtype=torch.float32 if boxes else torch.float64, device=shapes1.device)
    if count == 0:
        return result
    # If the pairs are not listed, the arguments for the list are not read.
    unused = shapes1 if first is None else None
    _triton_kernels.launch(
        boxes,
        shapes1,
        shapes2,
        unused if first is None else first,
        unused if second is None else second,
        result,
        len(shapes2),
        pairs,
        iof,
    )
    return result
