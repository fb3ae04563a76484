"""What a report says where all angles are read wrongly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rbox_formats import LE90, convert
from rbox_metrics import Report, evaluate, from_arrays

_CHANCE = np.random.default_rng(4)
TRUTH = np.column_stack(
    [
        _CHANCE.uniform(0, 4000, (40, 2)),
        _CHANCE.uniform(40, 60, 40),
        _CHANCE.uniform(10, 20, 40),
        np.radians(_CHANCE.uniform(-80, 80, 40)),
    ]
)


def scored(found: np.ndarray) -> Report:
    n = len(found)
    predictions = from_arrays(found, [0] * n, [0] * n, scores=np.linspace(1, 0.5, n))
    return evaluate(from_arrays(TRUTH, [0] * 40, [0] * 40), predictions, ["ship"], full=True)


def turned(angle: np.ndarray) -> np.ndarray:
    return np.column_stack([TRUTH[:, :4], angle])


@pytest.mark.parametrize(
    "found, kind",
    [
        (turned(-TRUTH[:, 4]), "mirrored"),
        (convert(turned(np.degrees(TRUTH[:, 4])), LE90, LE90), "degrees as radians"),
        (convert(turned(-np.degrees(TRUTH[:, 4])), LE90, LE90), "degrees as radians"),
        (turned(np.radians(TRUTH[:, 4])), "upright"),
        (turned(0 * TRUTH[:, 4]), "upright"),
        (TRUTH[:, [0, 1, 3, 2, 4]], "sides exchanged"),
        (turned(-TRUTH[:, 4] + np.radians(_CHANCE.normal(0, 1.5, 40))), "mirrored"),
    ],
)
def test_a_misreading_of_all_angles_is_named(found: np.ndarray, kind: str) -> None:
    report = scored(found)
    assert report.turned is not None
    assert report.turned.kind == kind
    assert report.to_dict()["turned"]["kind"] == kind
    assert report.turned.pairs == 40
    assert str(report.turned) in dict(report.summary())["angles"]
    assert str(report.turned) in report.to_markdown()


@pytest.mark.parametrize(
    "found",
    [
        TRUTH,
        turned(TRUTH[:, 4] + np.radians(_CHANCE.normal(0, 6, 40))),
        turned(_CHANCE.uniform(-math.pi / 2, math.pi / 2, 40)),
        np.concatenate([turned(-TRUTH[:, 4])[:15], TRUTH[15:]]),
        turned(-TRUTH[:, 4])[:2],
        np.add(turned(-TRUTH[:, 4]), [200, 0, 0, 0, 0]),
        turned(-TRUTH[:, 4]) * [1, 1, 2, 1, 1],
        TRUTH[:0],
    ],
)
def test_what_has_no_one_misreading_gets_no_word(found: np.ndarray) -> None:
    report = scored(found)
    assert report.turned is None
    assert "angles" not in dict(report.summary())
    assert "turned" not in report.to_dict()
