"""What every public function takes as an array, and what it refuses: the policy of `rbox_formats.arrays`, as tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rbox_metrics
import torch
from rbox_formats import ImageRecord, RboxError, rbox_to_quad
from rbox_metrics import MetricsError
from rbox_testing.arrays import NOT_NUMBERS, between, read_only

# Whole numbers below 128, which every type holds exactly.
BOXES = np.array([[60, 40, 20, 10, 1], [58, 41, 20, 10, 1], [9, 9, 4, 6, 0], [70, 50, 30, 12, 1]], dtype=np.float64)
QUADS = np.round(rbox_to_quad(BOXES))
LABELS = np.array([0, 0, 1, 1], dtype=np.float64)
SCORES = np.array([0.5, 1, 0.25, 0.75])
IMAGES = np.array([0, 0, 1, 0], dtype=np.float64)
WINDOWS = np.array([[0, 0, 64, 64], [32, 0, 96, 64]], dtype=np.float64)
NAMES = ("plane", "ship")
SAMPLES = {"boxes": BOXES, "quads": QUADS, "labels": LABELS, "scores": SCORES, "images": IMAGES, "windows": WINDOWS}
TRUTH = rbox_metrics.from_arrays(BOXES, LABELS.astype(int), IMAGES.astype(int))


def flat(found: rbox_metrics.FlatBoxes) -> list[Any]:
    return [found.boxes, found.labels, found.image_index, found.scores, found.quads]


def scored(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a function finds in detections made of arrays."""

    def call(boxes: Any, labels: Any, images: Any, scores: Any) -> list[Any]:
        predictions = rbox_metrics.from_arrays(boxes, labels, images, scores)
        return [repr(function(TRUTH, predictions, NAMES).to_dict())]

    return call


# What functions make of arrays, by their public names and those of the samples that they are given.
CALLS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "box_iou_rotated": (lambda a, b: [rbox_metrics.box_iou_rotated(a, b)], ("boxes", "boxes")),
    "quad_iou": (lambda a, b: [rbox_metrics.quad_iou(a, b, aligned=True, mode="iof")], ("quads", "quads")),
    "diff_iou_rotated": (lambda a, b: [rbox_metrics.diff_iou_rotated(a, b)], ("boxes", "boxes")),
    "nms_rotated": (lambda a, b, c: [rbox_metrics.nms_rotated(a, b, 0.3, c)], ("boxes", "scores", "labels")),
    "soft_nms_rotated": (lambda a, b, c: rbox_metrics.soft_nms_rotated(a, b, c), ("boxes", "scores", "labels")),
    "merge_windows": (
        lambda a, b, c, d, e: [rbox_metrics.merge_windows(a, b, c, d, e)],
        ("boxes", "labels", "scores", "labels", "windows"),
    ),
    "from_arrays": (lambda *x: flat(rbox_metrics.from_arrays(*x)), ("boxes", "labels", "images", "scores")),
    "from_arrays of quads": (lambda *x: flat(rbox_metrics.from_arrays(*x)), ("quads", "labels", "images", "scores")),
    "from_dicts": (
        lambda a, b, c: flat(rbox_metrics.from_dicts([{"boxes": a, "labels": b, "scores": c, "difficult": b}])),
        ("boxes", "labels", "scores"),
    ),
    "from_records": (
        lambda a, b, c: flat(rbox_metrics.from_records([ImageRecord("a", a, b, scores=c)])),
        ("boxes", "labels", "scores"),
    ),
    "from_ultralytics": (
        lambda a, b, c: flat(rbox_metrics.from_ultralytics([{"xywhr": a, "cls": b, "conf": c}])),
        ("boxes", "labels", "scores"),
    ),
    **{
        name: (scored(getattr(rbox_metrics, name)), ("boxes", "labels", "images", "scores"))
        for name in (
            *("evaluate", "sweep_scores", "confusion_matrix", "error_breakdown"),
            *("precision_recall_curves", "calibration", "bootstrap"),
        )
    },
    "compare": (
        scored(lambda truth, found, names: rbox_metrics.compare(truth, found, found, names, resamples=9)),
        ("boxes", "labels", "images", "scores"),
    ),
}
# These take what the others make, or files; objects of a library of their own are tried in test_adapters.py.
WITHOUT_ARRAYS = {
    *("from_supervision", "map_classes", "read_class_mapping", "read_predictions", "evaluate_file"),
    *("write_dota_submission", "write_fair1m_submission", "merge_scene"),
}


def backwards(array: np.ndarray) -> np.ndarray:
    return array[::-1, ...].copy()[::-1, ...]


def plain(name: str) -> np.ndarray:
    """Labels and the like are whole numbers; everything else is a float."""
    sample = SAMPLES[name]
    return sample.astype(np.int64) if name in ("labels", "images") else sample


def of_type(dtype: str) -> Callable[[str], np.ndarray]:
    """Samples of a type; scores that would lose their fractions, and whole numbers that would get some, as they are."""
    whole = np.dtype(dtype).kind in "iu"

    def make(name: str) -> np.ndarray:
        fits = name != "scores" if whole else name not in ("labels", "images")
        return plain(name).astype(dtype) if fits else plain(name)

    return make


def tensor_of(dtype: torch.dtype) -> Callable[[str], torch.Tensor]:
    return lambda name: torch.tensor(plain(name), dtype=torch.int16 if name in ("labels", "images") else dtype)


KINDS: dict[str, Callable[[str], Any]] = {
    "list": lambda name: plain(name).tolist(),
    "list of arrays": lambda name: list(plain(name)),
    "list of tensors": lambda name: [torch.tensor(row) for row in plain(name)],
    **{dtype: of_type(dtype) for dtype in ("int8", "int64", "uint16", "float16", "float32", ">f8", ">i2")},
    "read-only": lambda name: read_only(plain(name)),
    "strided": lambda name: between(plain(name)),
    "reversed": lambda name: backwards(plain(name)),
    "Fortran": lambda name: np.asfortranarray(plain(name)),
    "tensor": tensor_of(torch.float64),
    "tensor float32": tensor_of(torch.float32),
    "tensor float16": tensor_of(torch.float16),
    "tensor bfloat16": tensor_of(torch.bfloat16),
    "tensor with gradient": lambda name: torch.tensor(plain(name), requires_grad=plain(name).dtype.kind == "f"),
    "tensor uint8": lambda name: torch.tensor(SAMPLES[name], dtype=torch.float64 if name == "scores" else torch.uint8),
}


def numbers(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CALLS)
def test_every_kind_of_array_gives_the_same(name: str) -> None:
    call, samples = CALLS[name]
    expected = call(*map(plain, samples))
    for how, make in KINDS.items():
        given = [make(sample) for sample in samples]
        found = call(*given)
        for one, same in zip(given, map(make, samples), strict=True):
            assert isinstance(one, list) or bool((one == same).all()), how  # nothing is written to
        single = name == "diff_iou_rotated" and ("float32" in how or "float16" in how)
        for one, wanted in zip(found, expected, strict=True):
            if isinstance(wanted, str) or wanted is None:
                assert one == wanted, how
                continue
            if how.startswith("tensor") and name in ("box_iou_rotated", "quad_iou", "nms_rotated", "soft_nms_rotated"):
                assert isinstance(one, torch.Tensor), how
            rounding = 2e-5 if single else 1e-12
            np.testing.assert_allclose(numbers(one), numbers(wanted), rtol=rounding, atol=rounding, err_msg=how)


REFUSED: dict[str, Callable[[np.ndarray], Any]] = {
    **NOT_NUMBERS,
    "ragged": lambda x: [*x.tolist(), [1.0, 2.0]] if x.ndim > 1 else [[1.0], *x.tolist()],
    "number": lambda x: 3.0,
    "other shape": lambda x: np.zeros((2, 3)),
    "other dimensions": lambda x: np.ones((*x.shape, 2)),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_of_numbers_is_named(name: str) -> None:
    """In the place of each argument in turn."""
    call, samples = CALLS[name]
    for place in range(len(samples)):
        for how, make in REFUSED.items():
            given = [*map(plain, samples)]
            given[place] = make(given[place])
            with pytest.raises(RboxError, match=r"expected .*got"):
                pytest.fail(f"took {how} as {samples[place]}: {call(*given)}")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CALLS)
def test_labels_are_whole_numbers(name: str) -> None:
    call, samples = CALLS[name]
    for place, sample in enumerate(samples):
        if sample in ("labels", "images"):
            given = [*map(plain, samples)]
            given[place] = given[place] + 0.5
            with pytest.raises(RboxError, match=r"whole numbers"):
                call(*given)


def test_every_public_function_is_in_the_table() -> None:
    names = [*rbox_metrics.__all__, "diff_iou_rotated"]
    public = {name for name in names if inspect.isfunction(getattr(rbox_metrics, name))}
    assert public == {name.partition(" ")[0] for name in CALLS} | WITHOUT_ARRAYS


FOUND = rbox_metrics.from_arrays(BOXES, LABELS.astype(int), IMAGES.astype(int), SCORES)
GIVEN = (TRUTH, FOUND, NAMES)
M = rbox_metrics
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: M.box_iou_rotated(BOXES, BOXES, mode="giou"), "mode 'iou' or 'iof', got 'giou'"),
    (lambda: M.box_iou_rotated(BOXES, BOXES, backend="cuda"), "'reference', 'numba' or 'triton', got 'cuda'"),
    (lambda: M.box_iou_rotated(BOXES, BOXES, backend=["numba"]), "or 'triton', got ['numba']"),
    (lambda: M.nms_rotated(BOXES, SCORES, "0.5"), "iou_threshold as an array of numbers, got str"),
    (lambda: M.nms_rotated(BOXES, SCORES, [0.5]), "iou_threshold as one number, got [0.5]"),
    (lambda: M.nms_rotated(BOXES, SCORES, 2), "iou_threshold from 0 to 1, got 2"),
    (lambda: M.nms_rotated(BOXES, SCORES, 0.5, np.full(4, 2**64 - 1, np.uint64)), "whole numbers in labels"),
    (lambda: M.soft_nms_rotated(BOXES, SCORES, method="hard"), "method 'linear' or 'gaussian', got 'hard'"),
    (lambda: M.soft_nms_rotated(BOXES, SCORES, sigma=None), "sigma as an array of numbers, got NoneType"),
    (lambda: M.evaluate(*GIVEN, protocol="voc12"), "'voc07', 'voc', 'dota', 'coco', 'fair1m', got 'voc12'"),
    (lambda: M.evaluate(*GIVEN, protocol=["voc"]), "'fair1m', got ['voc']"),
    (lambda: M.evaluate(*GIVEN, geometry="box"), "a geometry among 'rbox', 'quad', 'mask', 'boundary', got 'box'"),
    (lambda: M.evaluate(*GIVEN, iou_thresholds="0.5"), "iou_thresholds as an array of numbers, got str"),
    (lambda: M.evaluate(*GIVEN, protocol="coco", max_dets=[1.5]), "whole numbers in max_dets, got float64"),
    (lambda: M.evaluate(5, FOUND, NAMES), "expected records of images, got int"),
    (lambda: M.evaluate(["a"], FOUND, NAMES), "expected records of images, got str among them"),
    (lambda: M.from_dicts(["a"]), "expected a dictionary of arrays, got str in images[0]"),
    (lambda: M.from_dicts(5), "expected a list, of one object per image, got int"),
    (lambda: M.sweep_scores(*GIVEN, thresholds="high"), "thresholds as an array of numbers, got str"),
    (lambda: M.confusion_matrix(*GIVEN, score_threshold="0.5"), "score_threshold as an array of numbers, got str"),
    (lambda: M.error_breakdown(*GIVEN, background_threshold=None), "background_threshold as an array of numbers"),
    (lambda: M.calibration(*GIVEN, binning="count"), "binning 'width' or 'mass', got 'count'"),
    (lambda: M.calibration(*GIVEN, bins=1.5), "bins as a whole number, got 1.5"),
    (lambda: M.bootstrap(*GIVEN, resamples="9"), "resamples as a whole number, got '9'"),
    (lambda: M.bootstrap(*GIVEN, confidence="high"), "confidence as an array of numbers, got str"),
    (lambda: M.bootstrap(*GIVEN, seed=-1), "seed of 0 or more, got -1"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("call, message", WRONG, ids=[message for _, message in WRONG])
def test_wrong_choices_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(MetricsError) as error:
        call()
    assert message in str(error.value)
