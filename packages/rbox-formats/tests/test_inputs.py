"""What every public function takes as an array, and what it refuses: the policy of `rbox_formats.arrays`, as tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rbox_formats
import torch
from rbox_formats import ClassNames, Dataset, ImageRecord, RboxError, arrays, codecs, datasets, predictions, tiling
from rbox_testing.arrays import NOT_NUMBERS, between, read_only

# Whole numbers below 128, which every type holds exactly; the angle is a radian or none.
BOXES = np.array([[60, 40, 20, 10, 1], [70, 50, 30, 12, 0], [8, 9, 4, 6, 1]], dtype=np.float64)
QUADS = np.array([[[10, 10], [50, 12], [48, 40], [9, 38]], [[60, 60], [80, 60], [80, 90], [60, 90]]], dtype=np.float64)
HBOXES = np.array([[1, 2, 30, 20], [5, 5, 6, 90]], dtype=np.float64)
WINDOW = (0.0, 0.0, 45.0, 70.0)
LABELS = {3: [0, 1, 0], 2: [0, 1]}
NAMES = ("plane", "ship")


def encoded(shapes: Any) -> np.ndarray:
    text = codecs.get("florence2").encode(shapes, LABELS.get(len(shapes), []), NAMES, (100, 100))
    return np.frombuffer(text.encode(), dtype=np.uint8)


# What a function makes of an array, by the function's public name and what it was given.
GIVEN = {"boxes": BOXES, "quads": QUADS, "hboxes": HBOXES}
CALLS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("area_inside", "quads"): lambda x: rbox_formats.area_inside(x, WINDOW),
    ("canonical_le90", "boxes"): rbox_formats.canonical_le90,
    ("canonical_quad", "quads"): rbox_formats.canonical_quad,
    ("clip_to_rbox", "quads"): lambda x: rbox_formats.clip_to_rbox(x, WINDOW),
    ("convert", "boxes"): lambda x: rbox_formats.convert(x, "oc", rbox_formats.LE135.degrees),
    ("crosses_itself", "quads"): rbox_formats.crosses_itself,
    ("flip", "boxes"): lambda x: rbox_formats.flip(x, (100, 100), "horizontal"),
    ("flip", "quads"): lambda x: rbox_formats.flip(x, (100, 100), "vertical"),
    ("hbox_to_rbox", "hboxes"): rbox_formats.hbox_to_rbox,
    ("intersection_over_foreground", "quads"): lambda x: rbox_formats.intersection_over_foreground(x, WINDOW),
    ("quad_area", "quads"): rbox_formats.quad_area,
    ("quad_to_hbox", "quads"): rbox_formats.quad_to_hbox,
    ("quad_to_rbox", "quads"): rbox_formats.quad_to_rbox,
    ("rbox_area", "boxes"): rbox_formats.rbox_area,
    ("rbox_to_hbox", "boxes"): rbox_formats.rbox_to_hbox,
    ("rbox_to_quad", "boxes"): rbox_formats.rbox_to_quad,
    ("rotate", "boxes"): lambda x: rbox_formats.rotate(x, 0.5, (50, 50)),
    ("rotate", "quads"): lambda x: rbox_formats.rotate(x, 0.5, (50, 50)),
    ("rotate90", "boxes"): lambda x: rbox_formats.rotate90(x, (100, 100))[0],
    ("rotate90", "quads"): lambda x: rbox_formats.rotate90(x, (100, 100), turns=-1)[0],
    ("scale", "boxes"): lambda x: rbox_formats.scale(x, (2, 3)),
    ("scale", "quads"): lambda x: rbox_formats.scale(x, 2),
    ("translate", "boxes"): lambda x: rbox_formats.translate(x, (2, 3)),
    ("translate", "quads"): lambda x: rbox_formats.translate(x, (2, 3)),
}
# Those that keep what they are given in numpy's float64, or make something else of it.
TO_NUMPY: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("ImageRecord", "boxes"): lambda x: ImageRecord("a", boxes=x, labels=LABELS[3]).corners,
    ("ImageRecord.from_quads", "quads"): lambda x: ImageRecord.from_quads("a", x, labels=LABELS[2]).boxes,
    ("Codec.encode", "boxes"): encoded,
    ("Codec.encode", "quads"): encoded,
    ("tiling.to_image", "boxes"): lambda x: tiling.to_image(x, tiling.Window(10, 20, 50, 0.5)),
    ("tiling.to_image", "quads"): lambda x: tiling.to_image(x, tiling.Window(10, 20, 50, 0.5)),
    ("quad_around", "quads"): lambda x: np.array([rbox_formats.quad_around(quad) for quad in x]),
    ("to_numpy", "boxes"): lambda x: arrays.to_numpy(x).astype(np.float64),
}


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda x: x.tolist(),
    "list of whole numbers": lambda x: x.astype(int).tolist(),
    "list of arrays": lambda x: list(x),
    "list of tensors": lambda x: [torch.tensor(row, dtype=torch.bfloat16) for row in x],
    **{name: lambda x, name=name: x.astype(name) for name in ("int8", "int64", "uint16", "float16", "float32", ">f8")},
    "read-only": read_only,
    "strided": between,
    "reversed": lambda x: x[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
    "Fortran": np.asfortranarray,
    "tensor": torch.tensor,
    "tensor int16": lambda x: torch.tensor(x, dtype=torch.int16),
    "tensor uint8": lambda x: torch.tensor(x, dtype=torch.uint8),
    "tensor float16": lambda x: torch.tensor(x, dtype=torch.float16),
    "tensor bfloat16": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "tensor float32": lambda x: torch.tensor(x, dtype=torch.float32),
    "tensor with gradient": lambda x: torch.tensor(x, requires_grad=True),
    "tensor strided": lambda x: torch.tensor(between(x))[..., :],
}
SINGLE = {"list of tensors", "float16", "float32", "tensor float16", "tensor bfloat16", "tensor float32"}


def numbers(values: Any) -> np.ndarray:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else values


def copied(values: Any) -> np.ndarray:
    return np.array(
        [numbers(row.float()) for row in values]
        if isinstance(values, list) and hasattr(values[0], "detach")
        else numbers(values.float())
        if isinstance(values, torch.Tensor)
        else values,
        dtype=np.float64,
    )


@pytest.mark.parametrize("name, kind", [*CALLS, *TO_NUMPY])
def test_every_kind_of_array_gives_the_same(name: str, kind: str) -> None:
    key = (name, kind)
    call = CALLS.get(key) or TO_NUMPY[key]
    expected = call(GIVEN[kind].copy())
    for how, make in KINDS.items():
        given = make(GIVEN[kind])
        before = copied(given)
        found = call(given)
        np.testing.assert_array_equal(copied(given), before, err_msg=how)
        if key in CALLS:
            assert isinstance(found, torch.Tensor if how.startswith("tensor") else np.ndarray), how
            made = "bool" if expected.dtype == bool else "float32" if how in SINGLE else "float64"
            assert str(found.dtype).endswith(made), how
        rounding = 2e-5 if how in SINGLE else 1e-12
        np.testing.assert_allclose(numbers(found), expected, rtol=rounding, atol=rounding * 100, err_msg=how)


REFUSED: dict[str, Callable[[np.ndarray], Any]] = {
    **NOT_NUMBERS,
    "none": lambda x: None,
    "ragged": lambda x: [*x.tolist(), [1.0]],
    "number": lambda x: 3.0,
    "other shape": lambda x: np.zeros((2, 3)),
    "tensor of another shape": lambda x: torch.zeros(2, 7),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name, kind", [*CALLS, *TO_NUMPY])
def test_what_is_no_array_of_boxes_is_named(name: str, kind: str) -> None:
    key = (name, kind)
    call = CALLS.get(key) or TO_NUMPY[key]
    for how, make in REFUSED.items():
        # A sample that itself goes through what it is given, and functions that take any shape.
        itself = name in ("quad_around", "Codec.encode") and how in ("text", "none", "number")
        if itself or (name in ("quad_around", "to_numpy") and "shape" in how) or (name, how) == ("to_numpy", "number"):
            continue
        if how == "meta tensor" and (name, kind) in CALLS:  # nothing of it asks for values
            assert call(make(GIVEN[kind])).device.type == "meta"
            continue
        with pytest.raises(RboxError, match=r"expected .*got") as error:
            call(make(GIVEN[kind]))
        assert "\n" not in str(error.value), how


def test_every_public_function_is_in_the_table() -> None:
    public = {name for name in rbox_formats.__all__ if inspect.isfunction(getattr(rbox_formats, name))}
    assert public - {"load_detector"} == {name for name, _ in (*CALLS, *TO_NUMPY) if name in public}


def test_no_boxes_are_boxes() -> None:
    for (name, kind), call in CALLS.items():
        assert len(call([])) == len(call(np.zeros((0, *GIVEN[kind].shape[1:])))) == 0, name
    assert ImageRecord("a", [], []).boxes.shape == (0, 5)
    assert ImageRecord("a", [], [], quads=[], scores=[]).corners.shape == (0, 4, 2)


@pytest.mark.usefixtures("unchecked")
def test_windows_are_taken_as_boxes_are() -> None:
    expected = rbox_formats.area_inside(QUADS, WINDOW)
    for how, make in KINDS.items():
        for quads in (QUADS, torch.tensor(QUADS)):
            found = rbox_formats.area_inside(quads, make(np.array([WINDOW, WINDOW])))
            np.testing.assert_allclose(numbers(found), expected, err_msg=how)
    for make in REFUSED.values():
        with pytest.raises(RboxError, match=r"expected .*got"):
            rbox_formats.area_inside(QUADS, make(np.array([WINDOW])))


def test_columns_of_a_record() -> None:
    """Each of its type, whatever it was given as."""
    record = ImageRecord(
        "a",
        torch.tensor(BOXES, dtype=torch.bfloat16),
        torch.tensor([0, 1, 0], dtype=torch.int16),
        quads=[[[0, 0], [1, 0], [1, 1], [0, 1]]] * 3,
        difficult=[0, 1, 0],
        scores=np.array([1, 0, 1], dtype=np.uint8),
    )
    types = [column.dtype for column in (record.boxes, record.labels, record.quads, record.difficult, record.scores)]
    assert types == [np.float64, np.int64, np.float64, np.bool_, np.float64]
    np.testing.assert_array_equal(record.boxes, BOXES)
    boxes = BOXES.copy()
    assert ImageRecord("a", boxes, np.zeros(3, np.int64)).boxes is boxes


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "columns",
    [
        {"labels": [0.5, 1, 0]},
        {"labels": ["plane"] * 3},
        {"labels": [0, 1]},
        {"labels": [[0, 1, 0]]},
        {"quads": BOXES},
        {"quads": QUADS},
        {"difficult": ["no", "no", "yes"]},
        {"difficult": [0.5, 0.5, 1]},
        {"scores": [None, 1, 1]},
        {"scores": [1j, 1, 1]},
        {"scores": [[1, 1, 1]]},
    ],
    ids=str,
)
def test_columns_that_a_record_refuses(columns: dict[str, Any]) -> None:
    with pytest.raises(RboxError, match=f"expected .*{next(iter(columns))}.*, got"):
        ImageRecord("a", **{"boxes": BOXES, "labels": [0, 1, 0], **columns})


@pytest.mark.usefixtures("unchecked")
def test_lists_of_names_become_class_names(tmp_path: Any) -> None:
    assert Dataset(["plane"], []).class_names == ClassNames(["plane"])  # type: ignore[arg-type]
    header = predictions.Header(["plane"], "x")  # type: ignore[arg-type]
    with predictions.Writer(tmp_path / "predictions.jsonl", header) as writer:
        writer.write(ImageRecord("a", BOXES.tolist(), [0, 0, 0], scores=torch.ones(3, dtype=torch.float16)))
        with pytest.raises(RboxError, match="expected finite boxes"):
            writer.write(ImageRecord("b", [[np.nan] * 5], [0]))
    (record,) = predictions.read(tmp_path / "predictions.jsonl")
    np.testing.assert_array_equal(record.boxes, BOXES)


CODEC = codecs.get("florence2")
RECORD = ImageRecord("a", BOXES, LABELS[3], width=100, height=100)
SPLIT = tiling.Window(0, 0, 50)
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: rbox_formats.flip(BOXES, (100, 100), "horiz"), "'horizontal', 'vertical' or 'diagonal', got 'horiz'"),
    (lambda: rbox_formats.flip(BOXES, (100, 100), None), "'diagonal', got None"),
    (lambda: rbox_formats.flip(BOXES, 100, "vertical"), "image_size as two finite numbers, got 100"),
    (lambda: rbox_formats.convert(BOXES, "le9", "oc"), "le90, le135, oc, oc_old, got 'le9'"),
    (lambda: rbox_formats.convert(BOXES, "oc", ["oc"]), "oc_old, got ['oc']"),
    (lambda: rbox_formats.canonical_quad(QUADS, start="last"), "'first', 'topmost' or 'leftmost', got 'last'"),
    (lambda: rbox_formats.rotate90(BOXES, (100, 100), 1.5), "turns as a whole number, got 1.5"),
    (lambda: rbox_formats.rotate(BOXES, "1", (0, 0)), "angle as a finite number, got '1'"),
    (lambda: rbox_formats.rotate(BOXES, 1.0, (0, 0, 0)), "centre as two finite numbers, got (0, 0, 0)"),
    (lambda: rbox_formats.scale(BOXES, "2"), "positive factors to scale by as two finite numbers, got '2'"),
    (lambda: rbox_formats.translate(BOXES, (1, "2")), "offset as two finite numbers, got (1, '2')"),
    (lambda: rbox_formats.quad_around([]), "x1, y1, x2, y2, ..., got 0 numbers"),
    (lambda: rbox_formats.quad_around([1, 2, 3]), "x1, y1, x2, y2, ..., got 3 numbers"),
    (lambda: tiling.clip_to_window(RECORD, SPLIT, border="cut"), "'keep' or 'clip', got 'cut'"),
    (lambda: tiling.clip_to_window(RECORD, SPLIT, below="keep"), "'drop' or 'difficult', got 'keep'"),
    (lambda: CODEC.decode("", NAMES, (9, 9), on_invalid="skip"), "warn, ignore, raise, got 'skip'"),
    (lambda: CODEC.order(BOXES, LABELS[3], NAMES, (99, 99), by="score"), "'category' or 'position', got 'score'"),
    (lambda: CODEC.encode(BOXES, LABELS[3], NAMES, (99, 99), order=[3]), "indices below 3, got 3 to 3"),
    (lambda: CODEC.encode(BOXES, LABELS[3], NAMES, (99, 99), order=[0.5]), "indices of boxes (K,), got float64"),
    (lambda: CODEC.encode(BOXES, LABELS[3], NAMES, 99), "image_size as (width, height) in pixels, got 99"),
    (lambda: CODEC.encode(BOXES, LABELS[3], NAMES, "ab"), "image_size as (width, height) in pixels, got 'ab'"),
    (lambda: codecs.get("florence"), "expected a codec among florence2, "),
    (lambda: datasets.get(["dota"]), "expected a dataset format among coco, "),
    (lambda: ClassNames(7), "expected a list of class names, got 7"),
    (lambda: ClassNames(["plane", 7]), "expected class names as texts, got 7 as name 1"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("call, message", WRONG, ids=[message for _, message in WRONG])
def test_wrong_choices_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RboxError) as error:
        call()
    assert message in str(error.value)
