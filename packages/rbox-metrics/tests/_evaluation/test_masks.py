"""Mask AP: the recorded numbers of pycocotools and faster-coco-eval, and what a report of masks says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask as coco
from rbox_formats import ClassNames, Dataset, ImageRecord, datasets, predictions
from rbox_formats.masks import Masks, PolygonMask, RunMask
from rbox_metrics import bootstrap, evaluate, from_records, read_predictions
from rbox_metrics._overlaps import _masks, overlapping_masks
from rbox_metrics.cli.main import main
from rbox_metrics.errors import MetricsError

DATA = json.loads((Path(__file__).parents[1] / "data" / "coco_masks.json").read_text())
NAMES = ClassNames(["class1", "class2", "class3"])
MAX_DETS = (1, 10, 100)

needs_faster = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("faster_coco_eval"), reason="faster-coco-eval is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools 2.0.11


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("masks")
    paths = folder / "truth.json", folder / "results.json"
    for path, key in zip(paths, ("truth", "detections"), strict=True):
        path.write_text(json.dumps(DATA[key]))
    return paths


@pytest.fixture(scope="module")
def truth(files: tuple[Path, Path]) -> Dataset:
    return datasets.read("coco", files[0])


@pytest.fixture(scope="module")
def found(files: tuple[Path, Path]) -> Dataset:
    return read_predictions(files[1], annotations=files[0])


def statistics(figures: dict[str, Any]) -> list[float]:
    names = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]
    return [figures[name] for name in (*names, "mar_small", "mar_medium", "mar_large")]


@pytest.fixture(params=["faster_coco_eval.core.mask", "pycocotools.mask"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    module = pytest.importorskip(request.param)
    monkeypatch.setattr(_masks, "library", lambda boundary=False: module)
    return request.param


@pytest.mark.usefixtures("library")
def test_mask_ap_is_that_of_pycocotools(truth: Dataset, found: Dataset) -> None:
    report = evaluate(truth, found, NAMES, protocol="coco", geometry="mask", max_dets=MAX_DETS)
    assert statistics(report.figures) == pytest.approx(DATA["said"]["segm"], abs=1e-12)
    assert DATA["said"]["segm"] == DATA["said"]["faster_segm"]
    assert report.figures["map_per_class"] == pytest.approx(DATA["said"]["per_class"], abs=1e-12)
    assert "coco on masks" in str(report)
    assert report.to_dict()["geometry"] == "mask"


@needs_faster
def test_boundary_ap_is_that_of_faster_coco_eval(truth: Dataset, found: Dataset) -> None:
    report = evaluate(truth, found, NAMES, protocol="coco", geometry="boundary", max_dets=MAX_DETS)
    assert statistics(report.figures) == pytest.approx(DATA["said"]["faster_boundary"], abs=1e-12)


def test_boundaries_need_the_library_that_has_them(
    truth: Dataset, found: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(_masks, "import_module", missing)
    with pytest.raises(
        MetricsError, match=r"for the overlaps of masks, found none\nInstall it: pip install .rbox-metrics"
    ):
        evaluate(truth, found, NAMES, geometry="boundary")
    with pytest.raises(MetricsError, match="expected faster-coco-eval or pycocotools"):
        evaluate(truth, found, NAMES, geometry="mask")


def test_the_order_of_images_and_detections_does_not_matter(truth: Dataset, found: Dataset) -> None:
    rng = np.random.default_rng(0)
    shuffled = [
        [
            record.select(rng.permutation(len(record)))
            for record in (records[i] for i in rng.permutation(len(records)).tolist())
        ]
        for records in (truth, found)
    ]
    reports = [evaluate(*pair, NAMES, protocol="coco", geometry="mask") for pair in ((truth, found), shuffled)]
    assert reports[0].figures["map"] == reports[1].figures["map"]


def test_a_detector_of_boxes_is_compared_by_its_filled_boxes(truth: Dataset, found: Dataset) -> None:
    boxes = [ImageRecord(r.image_id, r.boxes, r.labels, scores=r.scores) for r in found]
    polygons = [
        ImageRecord(r.image_id, r.boxes, r.labels, scores=r.scores, masks=[PolygonMask((quad,)) for quad in r.corners])
        for r in boxes
    ]
    reports = [evaluate(truth, each, NAMES, protocol="coco", geometry="mask") for each in (boxes, polygons)]
    assert reports[0].figures["map"] == reports[1].figures["map"] > 0


def test_intervals_and_full_reports_take_masks(truth: Dataset, found: Dataset) -> None:
    report = evaluate(truth, found, NAMES, protocol="coco", geometry="mask", full=True)
    assert report.errors is not None
    intervals = bootstrap(truth, found, NAMES, protocol="coco", geometry="mask", resamples=20)
    assert intervals.figures["map"].value == pytest.approx(report.figures["map"])


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("shift", [0, 3 * 10**6])
def test_overlaps_are_those_of_pycocotools_wherever_masks_lie(sized: bool, shift: int) -> None:
    """Also on an image of more pixels than the library counts, and on one of unknown size."""
    rng = np.random.default_rng(1)
    pixels = []
    for _ in range(12):
        x, y = rng.integers(0, 30, 2)
        drawn = np.zeros((50, 60), np.uint8)
        drawn[y : y + rng.integers(4, 20), x : x + rng.integers(4, 25)] = rng.random() > 0.1
        pixels.append(drawn)
    crowds = np.arange(6) % 3 == 0
    encoded = [coco.encode(np.asfortranarray(each)) for each in pixels]
    theirs = coco.iou(encoded[:6], encoded[6:], crowds.astype(int).tolist())
    column = Masks(RunMask.of_array(each) for each in pixels).moved(shift, 0)
    groups = np.zeros(6, dtype=np.int64)
    sizes = np.tile([shift + 60, 50 if not shift else 10**6], (6, 1)) * sized
    pairs = overlapping_masks(column[:6], groups, column[6:], groups, 1e-9, crowds=crowds, sizes=sizes)
    ours = np.zeros((6, 6))
    ours[pairs.detection, pairs.truth] = pairs.iou
    np.testing.assert_array_equal(ours, theirs)


def test_flat_boxes_hold_masks_in_step() -> None:
    one = ImageRecord.from_masks("a", [[[0, 0, 9, 0, 9, 9]]], [0], width=20, height=10)
    flat = from_records([one, ImageRecord("b", [[5, 5, 4, 4, 0]], [0])])
    assert flat.image_sizes == ((20, 10), (None, None))
    assert flat.masks is not None
    assert np.allclose(flat.masks.areas, [40.5, 16])


def test_the_command_scores_masks(files: tuple[Path, Path], found: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    call = ["evaluate", "--data", str(files[0]), "--format", "coco", "--protocol", "coco", "--geometry", "mask"]
    given = tmp_path / "p.jsonl"
    with predictions.Writer(given, predictions.Header(NAMES, "instances")) as writer:
        for record in found:
            writer.write(record)
    for path in (files[1], given):
        result = CliRunner().invoke(
            main, [*call, "--predictions", str(path), "--out", str(out)], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        report = json.loads(out.read_text())
        assert report["geometry"] == "mask"
        assert report["map"] == pytest.approx(DATA["said"]["segm"][0], abs=1e-9)
