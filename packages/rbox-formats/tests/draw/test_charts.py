from __future__ import annotations

import numpy as np
import pytest
from rbox_formats import draw

RED, BLUE = (200, 30, 30), (30, 30, 200)


def runs(pixels, colour):
    """The widest run of a colour in each row that has any, top to bottom, one per bar."""
    widths = np.all(np.asarray(pixels) == colour, axis=2).sum(axis=1)
    return int(widths.max())


def test_bars_are_as_long_as_their_values():
    chart = draw.bar_chart("Some", {"a": 10, "b": 5, "c": 0}, [RED, BLUE, (0, 200, 0)], 400)
    assert chart.width == 400
    assert runs(chart, RED) == pytest.approx(2 * runs(chart, BLUE), abs=4)
    assert runs(chart, (0, 200, 0)) == 0


def test_logarithmic_bars():
    chart = draw.bar_chart("Some", {"a": 99_999, "b": 9}, [RED, BLUE], 400, log=True)
    assert runs(chart, RED) == pytest.approx(5 * runs(chart, BLUE), abs=6)


@pytest.mark.parametrize("values", [{}, {"a": 0}, {"a very long name " * 20: 1}])
def test_bars_of_little(values):
    assert draw.bar_chart("Some", values, [RED] * len(values), 300).width == 300


def test_a_histogram_is_as_high_as_its_counts():
    counts = [4, 0, 2, 1]
    chart = np.asarray(draw.histogram("Some", counts, {0: "0", 4: "4"}, (500, 300), colour=RED))
    assert chart.shape == (300, 500, 3)
    filled = np.all(chart == RED, axis=2)
    columns = np.flatnonzero(filled.any(axis=0))
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    heights = [int(filled[:, group[len(group) // 2]].sum()) for group in groups]
    assert heights[0] == pytest.approx(2 * heights[1], abs=3)
    assert heights[0] == pytest.approx(4 * heights[2], abs=5)
    # The empty one keeps its place: the gap is as wide as a bar.
    assert groups[1][0] - groups[0][-1] == pytest.approx(len(groups[0]), abs=5)


@pytest.mark.parametrize("counts", [[], [0, 0], [1], [10**9, 1]])
def test_histograms_of_anything(counts):
    assert draw.histogram("Some", counts, {}, (300, 200)).size == (300, 200)
