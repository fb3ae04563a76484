"""What every operator checks of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from rbox_baselines.errors import OperatorError


def expect(condition: bool, operator: str, expected: str, got: object, remedy: str | None = None) -> None:
    """Raise OperatorError where the condition does not hold."""
    if not condition:
        raise OperatorError(
            f"{operator}: expected {expected}, got {got}",
            remedy=remedy or "Compare the call with mmcv's Python file of that operator, of version 2.0.1 or 2.1.0.",
        )


def expect_matrix(values: Tensor, columns: int, operator: str, name: str) -> None:
    """Raise OperatorError unless the shape is (N, columns); where N is 0, any number of columns is let through."""
    fits = values.ndim == 2 and (values.shape[1] == columns or values.shape[0] == 0)
    expect(fits, operator, f"{name} of shape (N, {columns})", tuple(values.shape))


def expect_features(values: Tensor, operator: str) -> None:
    """Raise OperatorError unless these are floating-point numbers of shape (N, C, H, W), H and W at least 1."""
    fits = values.ndim == 4 and values.is_floating_point() and min(values.shape[2:], default=0) > 0
    expect(fits, operator, "features of shape (N, C, H, W), floating-point", f"{tuple(values.shape)}, {values.dtype}")


def working(values: Tensor) -> Tensor:
    """Return it detached, and as float32 if it was half precision: sums in half precision would be inexact."""
    values = values.detach()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def outside_autocast(operator: Callable[..., Any]) -> Callable[..., Any]:
    """Have an operator compute in the precision that it chooses itself, whatever autocast is around it.

    Autocast does not change mmcv's compiled operators. The operators here are made of torch's matrix products, which
    autocast would compute in half precision instead of float32.
    """

    @wraps(operator)
    def called(*arguments: Any, **settings: Any) -> Any:
        given = (*arguments, *settings.values())
        device = next((value.device.type for value in given if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return operator(*arguments, **settings)

    return called
