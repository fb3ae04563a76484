from __future__ import annotations

import pickle

import jaxtyping
import numpy as np
import pytest
from rbox_formats import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import ClassNameError, FormatsError


@pytest.mark.parametrize("written", ["small-vehicle", "Small Vehicle", "small_vehicle", " SMALLVEHICLE "])
def test_names_are_found_up_to_case_and_separators(written: str) -> None:
    assert ClassNames(["ship", "small-vehicle"]).find(written) == 1


def test_unknown_names_are_not_found() -> None:
    assert ClassNames(["ship"]).find("shop") is None


@pytest.mark.parametrize("names", [["ship", "Ship"], ["a-b", "ab"], ["ab", "a b"], [""]])
def test_names_that_look_up_alike_are_refused(names: list[str]) -> None:
    with pytest.raises(ClassNameError, match="expected"):
        ClassNames(names)


def test_names_survive_pickle() -> None:
    names = pickle.loads(pickle.dumps(ClassNames(["ship", "plane"])))  # noqa: S301  # our own bytes
    assert names.find("Plane") == 1


def record(n: int = 2) -> ImageRecord:
    quads = np.arange(8.0).reshape(4, 2)[None] + np.arange(n)[:, None, None]
    return ImageRecord.from_quads("P1", quads, labels=np.arange(n))


def test_columns_of_other_lengths_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    with pytest.raises(FormatsError, match=r"as many labels as boxes \(1\) on 'P1', got 2"):
        ImageRecord("P1", boxes=np.zeros((1, 5)), labels=np.zeros(2, dtype=np.int64))


def test_select_keeps_every_column_in_step() -> None:
    part = record(3).select(np.array([2, 0]))
    assert part.labels.tolist() == [2, 0]
    assert part.quads is not None
    assert part.quads[:, 0, 0].tolist() == [2, 0]
    assert part.difficult.tolist() == [False, False]


def test_size_and_file_of_a_record_without_image() -> None:
    with pytest.raises(FormatsError, match="expected an image for 'P1'"):
        _ = record().size
    with pytest.raises(FormatsError, match="expected an image file for 'P1'"):
        _ = record().file


def test_a_dataset_reads_only_what_is_asked_for() -> None:
    read = []

    def load(number: int) -> ImageRecord:
        read.append(number)
        return record(number)

    dataset = Dataset(ClassNames(["ship"]), [1, 2, 3], load)
    assert len(dataset) == 3
    assert len(dataset[1]) == 2
    assert read == [2]
    assert next(iter(dataset)).image_id == "P1"
    assert read == [2, 1]


def test_corners_are_the_quads_and_without_them_the_boxes() -> None:
    box, label = np.array([[10.0, 20, 8, 4, 0]]), np.zeros(1, dtype=np.int64)
    assert sorted(ImageRecord("a", box, label).corners[0].tolist()) == [[6, 18], [6, 22], [14, 18], [14, 22]]
    quads = np.array([[[0.0, 0], [5, 1], [4, 3], [-1, 2]]])
    assert ImageRecord("a", box, label, quads=quads).corners is quads
