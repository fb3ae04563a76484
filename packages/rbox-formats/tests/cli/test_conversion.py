from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rbox_formats import ClassNames, Dataset, ImageRecord
from rbox_formats.cli._conversion import Losses, class_map, compare, relabelled
from rbox_formats.errors import ClassNameError

NAMES = ClassNames(["plane", "small-vehicle", "large-vehicle", "ship"])
QUADS = np.array([[(x, 10), (x + 20, 10), (x + 20, 18), (x, 18)] for x in (10, 50, 90)], float)

MOVED = np.array([[[3, 4]], [[0, 0]], [[0, 0.5]]])


def record(**fields):
    return replace(ImageRecord.from_quads("P1", QUADS, np.array([0, 1, 3])), **fields)


@pytest.mark.parametrize(
    "target, renamed, dropped, names, labels, foreign",
    [
        (None, {}, [], NAMES, (0, 1, 2, 3), ()),
        # The makers' list in their order and spelling, where it has all of the names.
        (["Ship", "Plane", "tram", "Small Vehicle", "large vehicle"], {}, [], None, (1, 3, 4, 0), ()),
        # Otherwise the source's, in its order, with their spelling where they have a name.
        (["Ship"], {}, NAMES[1:3], ["plane", "Ship"], (0, None, None, 1), ("plane",)),
        (None, {"plane": "ship"}, [], ["ship", "small-vehicle", "large-vehicle"], (0, 1, 2, 0), ()),
        (["ship"], {"Plane": "ship"}, ["small vehicle", "large vehicle"], None, (0, None, None, 0), ()),
        (None, {"plane": "ship", "ship": "plane"}, NAMES[1:3], ["ship", "plane"], (0, None, None, 1), ()),
    ],
)
def test_class_maps(target, renamed, dropped, names, labels, foreign):
    found = class_map(NAMES, target and ClassNames(target), renamed, dropped)
    assert found.names == tuple(names or target)
    assert found.labels == labels
    assert found.foreign == foreign


@pytest.mark.parametrize(
    "renamed, dropped, message",
    [
        ({"tram": "ship"}, [], "got 'tram'"),
        ({}, ["tram"], "got 'tram'"),
        ({"ship": "boat"}, ["ship"], "one thing to be done with 'ship'"),
        ({}, NAMES, "expected a class that is kept"),
    ],
)
def test_bad_class_maps(renamed, dropped, message):
    with pytest.raises(ClassNameError, match=message):
        class_map(NAMES, None, renamed, dropped)


def test_relabelled():
    classes = class_map(NAMES, None, {"ship": "plane"}, ["small-vehicle"])
    new = relabelled(record(difficult=np.array([False, True, True])), classes)
    assert new.labels.tolist() == [0, 0]
    assert new.difficult.tolist() == [False, True]
    np.testing.assert_array_equal(new.quads, QUADS[[0, 2]])


@pytest.mark.parametrize(
    "change, lines",
    [
        ({}, []),
        ({"quads": None}, ["annotated quads that became boxes: 3"]),
        ({"quads": QUADS + 0.004}, []),
        ({"quads": QUADS + MOVED}, ["objects with moved corners (by 5 px at most): 2"]),
        ({"quads": np.roll(QUADS, 1, axis=1)}, ["objects with their corners in another order: 3"]),
        ({"labels": np.array([0, 1, 2])}, ["objects of another class: 1"]),
        ({"difficult": np.array([True, False, False])}, ["objects that are difficult in only one of the two: 1"]),
        ({"scores": None}, ["objects without their score: 3"]),
        ({"metadata": {"gsd": 0.3}}, ["images without their 'source': 1"]),
    ],
)
def test_each_loss_is_told(change, lines):
    before = record(scores=np.array([0.1, 0.5, 0.9]), metadata={"source": "a", "gsd": "0.3"})
    losses = Losses()
    losses.add(before, replace(before, **change))
    assert losses.lines() == lines


def test_objects_in_another_order_are_matched():
    losses = Losses()
    before = record()
    losses.add(before, before.select([2, 0, 1]))
    assert losses.lines() == []
    losses.add(before, before.select([2, 1]))
    assert losses.lines() == ["objects that are not there: 1"]
    assert losses.moved == 0


def test_images_are_matched_by_their_ids():
    records = [record(image_id=name) for name in "abc"]
    dataset = Dataset(NAMES, range(3), records.__getitem__)
    classes = class_map(NAMES, None, {}, [])
    stranger = record(image_id="was there before", quads=None)
    written = {"a": 0, "c": 2}.items()
    assert compare(written, dataset, [records[2], stranger, records[0]], classes).lines() == []
    assert compare(written, dataset, [records[2]], classes).lines() == ["images that are not there: 1"]
