"""The order in which boxes are written: the format's own, by position alone, or as told."""

from __future__ import annotations

import numpy as np
import pytest
from rbox_formats import codecs

NAMES = ["ship", "plane"]
# A ship below a plane below a ship; all in one column.
BOXES = np.array([[50.0, 80, 10, 4, 0], [50, 50, 10, 4, 0], [50, 20, 10, 4, 0]])
LABELS = np.array([0, 1, 0])
SIZE = (100, 100)


def test_by_position_a_class_is_named_again() -> None:
    codec = codecs.get("florence2")
    order = codec.order(BOXES, LABELS, NAMES, SIZE, by="position")
    assert order.tolist() == [2, 1, 0]
    text = codec.encode(BOXES, LABELS, NAMES, SIZE, order=order)
    assert text.count("ship") == 2
    assert text.index("plane") < text.rindex("ship")
    assert codec.order(BOXES, LABELS, NAMES, SIZE).tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", [name for name in codecs.CODECS if not codecs.get(name).one_class])
def test_boxes_are_written_in_the_order_told(name: str) -> None:
    codec = codecs.get(name)
    for order in ([0, 1, 2], [2, 0, 1], [1], []):
        text = codec.encode(BOXES, LABELS, NAMES, SIZE, order=order)
        found = codec.decode(text, NAMES, SIZE)
        assert found.labels.tolist() == LABELS[order].tolist()
        np.testing.assert_allclose(found.boxes[:, 1], BOXES[order][:, 1], atol=2)
    own = codec.order(BOXES, LABELS, NAMES, SIZE)
    assert codec.encode(BOXES, LABELS, NAMES, SIZE, order=own) == codec.encode(BOXES, LABELS, NAMES, SIZE)
