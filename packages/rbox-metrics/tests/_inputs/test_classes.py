"""From a detector's classes to a dataset's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ClassNames, Dataset, ImageRecord
from rbox_metrics import MetricsError, from_records, map_classes, read_class_mapping

SOURCE = ["ship", "small-vehicle", "large vehicle", "helipad"]
TARGET = ["Vehicle", "harbor", "Ship"]
MAPPING = {"small vehicle": "vehicle", "large-vehicle": "vehicle", "helipad": None}


def record(labels: list[int], image_id: str = "a") -> ImageRecord:
    n = len(labels)
    boxes = np.array([[k, 0, 4, 2, 0] for k in range(n)], dtype=float).reshape(-1, 5)
    quads = np.arange(8.0 * n).reshape(n, 4, 2)
    return ImageRecord(image_id, boxes, np.array(labels, dtype=np.int64), quads=quads, scores=np.linspace(0.1, 0.9, n))


def test_records_flat_boxes_and_datasets_are_mapped_alike() -> None:
    records = [record([0, 3, 1, 2]), record([3], "b"), record([], "c")]
    mapped = map_classes(iter(records), SOURCE, TARGET, MAPPING)
    assert [one.labels.tolist() for one in mapped] == [[2, 0, 0], [], []]
    assert mapped[0].boxes[:, 0].tolist() == [0, 2, 3]
    assert mapped[0].quads.tolist() == records[0].quads[[0, 2, 3]].tolist()
    assert mapped[0].scores.tolist() == records[0].scores[[0, 2, 3]].tolist()

    flat = map_classes(from_records(records), SOURCE, TARGET, MAPPING)
    again = from_records(mapped, ["a", "b", "c"])
    for name in ("boxes", "labels", "image_index", "scores", "difficult", "quads"):
        assert getattr(flat, name).tolist() == getattr(again, name).tolist(), name
    assert flat.image_ids == ("a", "b", "c")

    dataset = map_classes(Dataset(ClassNames(SOURCE), records, lambda one: one), SOURCE, TARGET, MAPPING)
    assert dataset.class_names == ClassNames(TARGET)
    assert [one.labels.tolist() for one in dataset] == [[2, 0, 0], [], []]


def test_names_that_lookup_takes_for_equal_need_no_mapping() -> None:
    (mapped,) = map_classes([record([0, 1, 2])], ["Storage_Tank", "ship", "plane"], ["plane", "Ship", "storage tank"])
    assert mapped.labels.tolist() == [2, 1, 0]


def test_the_mapping_goes_before_the_name() -> None:
    (mapped,) = map_classes([record([0, 1])], ["ship", "boat"], ["ship", "boat"], {"ship": "boat", "boat": None})
    assert mapped.labels.tolist() == [1]


@given(st.permutations(list("abcdef")), st.lists(st.integers(0, 5), max_size=20))
def test_a_permutation_and_back_changes_nothing(names: list[str], labels: list[int]) -> None:
    (there,) = map_classes([record(labels)], list("abcdef"), names)
    assert [names[label] for label in there.labels] == ["abcdef"[label] for label in labels]
    (back,) = map_classes([there], names, list("abcdef"))
    assert back.labels.tolist() == labels


@pytest.mark.parametrize(
    "mapping, message",
    [
        (
            None,
            r"no class for the detector's 'small-vehicle', 'large vehicle', 'helipad'; it has(.|\n)*or to null to drop",
        ),
        ({"small-vehicle": "vehicle", "helipad": None}, "no class for the detector's 'large vehicle'"),
        ({**MAPPING, "helipad": "heliport"}, "to map 'helipad' to, among Vehicle, harbor, Ship, got 'heliport'"),
        ({**MAPPING, "tram": None}, "among ship, small-vehicle, large vehicle, helipad, got 'tram'"),
        ({**MAPPING, "Helipad": "harbor"}, "each class once in the mapping, got 'helipad' and 'Helipad'"),
    ],
)
def test_what_has_no_place_is_named(mapping: dict[str, str | None] | None, message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        map_classes([record([])], SOURCE, TARGET, mapping)


def test_a_label_out_of_range_is_named() -> None:
    with pytest.raises(MetricsError, match="labels of 2 classes, from 0, got 2 on 'a'"):
        map_classes([record([0, 2])], ["a", "b"], ["a", "b"])


def test_a_mapping_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('\ufeff{"small vehicle": "vehicle", "helipad": null}', encoding="utf-8")
    assert read_class_mapping(path) == {"small vehicle": "vehicle", "helipad": None}
    path.write_text("{}")
    assert read_class_mapping(path) == {}


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a": 1}', "class name or null for 'a'"),
        ('{"a": ["b"]}', "class name or null for 'a'"),
        ('["a"]', "expected a JSON object"),
        ('"a"', "expected a JSON object"),
        ('{"a": "b", "a": null}', "each class once"),
        ('{"a":\n "b",}', r"classes.json:2: expected JSON"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_a_mapping_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(MetricsError, match=rf"classes.json(.|\n)*{message}|{message}"):
        read_class_mapping(tmp_path / "classes.json")


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match=r"none.json: expected a file that can be read"):
        read_class_mapping(tmp_path / "none.json")
