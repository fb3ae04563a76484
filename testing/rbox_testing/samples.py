"""Which of many alike cases the default tests take."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

_MARKS = (pytest.mark.slow, pytest.mark.variant)


def sampled(values: Iterable[Any], default: Collection[Any]) -> list[Any]:
    """Return each value, a tuple where a test takes several, as a parameter; only those in `default` run by default.

    The others are marked slow, and as variants: alike to the default ones, so that `.ci/run` leaves them out.

    Raises:
        ValueError: If a default is none of the values, so that it would never run.
    """
    values = list(values)
    if unknown := [value for value in default if value not in values]:
        raise ValueError(f"expected defaults among the values, got {unknown}")
    return [pytest.param(*_several(value), marks=() if value in default else _MARKS) for value in values]


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
