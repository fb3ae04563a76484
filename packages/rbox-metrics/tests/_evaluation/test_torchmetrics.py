"""The torchmetrics metric: its figures, and its state over several processes."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import math
import pickle
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rbox_formats import LE90, rbox_to_quad
from rbox_formats.errors import RboxError
from rbox_metrics import MetricsError, RotatedMeanAveragePrecision, evaluate, from_dicts
from torchmetrics import MetricCollection
from torchmetrics.detection.mean_ap import MeanAveragePrecision
from torchmetrics.utilities.plot import plot_single_or_multi_val

RECORDED = json.loads((Path(__file__).parents[1] / "data/torchmetrics_map.json").read_text(encoding="utf-8"))

Images = list[dict[str, torch.Tensor]]


def upright(images: list[dict[str, Any]]) -> Images:
    """The recorded images, their boxes with an angle of zero."""
    kinds = {"boxes": torch.float64, "scores": torch.float64, "labels": torch.int64}
    found = [{key: torch.tensor(values, dtype=kinds[key]) for key, values in image.items()} for image in images]
    return [image | {"boxes": torch.nn.functional.pad(image["boxes"].reshape(-1, 4), (0, 1))} for image in found]


def turned_images(count: int, seed: int = 0) -> tuple[Images, Images]:
    """Rotated truths and detections, scores with many ties."""
    rng = np.random.default_rng(seed)
    preds, target = [], []
    for _ in range(count):
        n = int(rng.integers(0, 8))
        boxes = np.concatenate(
            [rng.uniform(50, 250, (n, 2)), rng.uniform(8, 120, (n, 2)), rng.uniform(-1.5, 1.5, (n, 1))], axis=1
        )
        labels = rng.integers(0, 4, n)
        keep = np.repeat(np.arange(n), rng.integers(0, 4, n))
        found = boxes[keep] + rng.normal(0, [3, 3, 4, 4, 0.1], (len(keep), 5))
        found[:, 2:4] = np.abs(found[:, 2:4]) + 1
        target.append({"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)})
        preds.append(
            {
                "boxes": torch.tensor(found),
                "labels": torch.tensor(labels[keep]),
                "scores": torch.tensor(rng.integers(1, 4, len(keep)) / 4),
            }
        )
    return preds, target


def figures(metric: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchmetrics', where nothing was given
        return {key: value.tolist() for key, value in metric.compute().items()}


@pytest.mark.parametrize("case", RECORDED["cases"])
def test_upright_boxes_have_the_figures_of_torchmetrics_own_metric(case: dict[str, Any]) -> None:
    options = {key: value for key, value in case.items() if key != "figures"}
    metric = RotatedMeanAveragePrecision(**options, class_metrics=True)
    metric.update(upright(RECORDED["preds"]), upright(RECORDED["target"]))
    found, expected = figures(metric), case["figures"]
    assert found.keys() == expected.keys()
    assert 0.2 < expected["map"] < 0.8
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key


def test_one_update_or_many_and_any_order_give_the_same_figures() -> None:
    preds, target = turned_images(12)
    whole = RotatedMeanAveragePrecision(class_metrics=True)
    whole.update(preds, target)
    pieces = RotatedMeanAveragePrecision(class_metrics=True)
    for i in reversed(range(12)):
        pieces.update(preds[i : i + 1], target[i : i + 1])
    pieces.update([], [])
    assert figures(pieces) == figures(whole)
    assert 0 < figures(whole)["map"] < 1


def test_it_is_what_evaluate_gives() -> None:
    preds, target = turned_images(12)
    for geometry in ("rbox", "quad"):
        metric = RotatedMeanAveragePrecision(geometry=geometry, class_metrics=True)
        metric.update(preds, target)
        # Without ties, for which the images' order counts.
        distinct = [image | {"scores": torch.rand(len(image["labels"]), dtype=torch.float64)} for image in preds]
        metric.reset()
        metric.update(distinct, target)
        report = evaluate(
            from_dicts(target),
            from_dicts(distinct),
            ["a", "b", "c", "d"],
            protocol="coco",
            geometry=geometry,
            max_dets=(1, 10, 100),
        ).figures
        found = figures(metric)
        assert found["classes"] == [0, 1, 2, 3]
        for key in set(found) - {"classes"}:
            assert found[key] == pytest.approx(report[key], abs=1e-6), key


def test_corners_may_be_given_for_boxes() -> None:
    preds, target = turned_images(6)
    metric, corners = RotatedMeanAveragePrecision(), RotatedMeanAveragePrecision()
    metric.update(preds, target)
    quads = [
        [image | {"boxes": torch.tensor(rbox_to_quad(image["boxes"].numpy()))} for image in images]
        for images in (preds, target)
    ]
    corners.update(*quads)
    found = figures(corners)
    for key, value in figures(metric).items():
        assert found[key] == pytest.approx(value, abs=1e-6), key


BOX = torch.tensor([[50.0, 50, 40, 20, 0.3]])
ONE = {"boxes": BOX, "labels": torch.tensor([-7]), "scores": torch.tensor([0.5])}
NONE = {"boxes": torch.zeros(0, 5), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
KEYS = ("map", "map_50", "mar_100")


@pytest.mark.parametrize(
    "preds, target, expected",
    [
        ([], [], -1),
        ([NONE], [NONE], -1),
        ([ONE], [NONE], -1),
        ([NONE], [ONE], 0),
        ([ONE], [ONE], 1),
        ([ONE, NONE], [NONE, ONE], 0),
        ([ONE], [ONE | {"difficult": torch.tensor([True])}], -1),
        ([ONE], [ONE | {"iscrowd": torch.tensor([1])}], -1),
    ],
)
def test_where_there_is_nothing(preds: Images, target: Images, expected: float) -> None:
    metric = RotatedMeanAveragePrecision()
    metric.update(preds, target)
    found = figures(metric)
    assert [found[key] for key in KEYS] == [expected] * 3
    assert found["classes"] == (-7 if any(len(image["labels"]) for image in [*preds, *target]) else [])


def test_reset_forward_copies_and_pickles() -> None:
    preds, target = turned_images(6)
    metric = RotatedMeanAveragePrecision()
    first = metric(preds[:3], target[:3])  # of this call alone
    metric(preds[3:], target[3:])
    whole, alone = RotatedMeanAveragePrecision(), RotatedMeanAveragePrecision()
    whole.update(preds, target)
    alone.update(preds[:3], target[:3])
    assert figures(metric) == figures(whole)
    assert {key: value.tolist() for key, value in first.items()} == figures(alone)
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):  # noqa: S301
        assert figures(other) == figures(whole)
    metric.reset()
    assert figures(metric)["map"] == -1


def test_state_moves_between_devices_and_stays_as_exact() -> None:
    preds, target = turned_images(4)
    metric = RotatedMeanAveragePrecision()
    metric.update(preds, target)
    before = figures(metric)
    moved = metric.to("meta")
    assert all(tensor.device.type == "meta" for tensor in moved.detections)
    metric = RotatedMeanAveragePrecision().half().double().float()
    metric.update(preds, target)
    assert metric.truths[0].dtype == torch.float64
    assert figures(metric) == before


def test_in_a_collection() -> None:
    preds, target = turned_images(6)
    metrics = {"all": RotatedMeanAveragePrecision(), "at_half": RotatedMeanAveragePrecision(iou_thresholds=[0.5])}
    collection = MetricCollection(metrics, prefix="val_")
    collection.update(preds, target)
    found = collection.compute()
    assert found["val_all_map"] < found["val_at_half_map"]
    assert found["val_all_map_50"] == found["val_at_half_map_50"] == found["val_at_half_map"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: RotatedMeanAveragePrecision(iou_thresholds=[0.5, 0.5]), "distinct IoU thresholds"),
        (lambda: RotatedMeanAveragePrecision(max_detection_thresholds=[10, 1]), "rising max_detection_thresholds"),
        (lambda: RotatedMeanAveragePrecision(max_detection_thresholds=[]), "rising max_detection_thresholds"),
        (lambda: RotatedMeanAveragePrecision(protocol="pascal"), "a protocol among 'voc07'.* got 'pascal'"),
        (
            lambda: RotatedMeanAveragePrecision(protocol="voc", max_detection_thresholds=[5]),
            "only with protocol 'coco'",
        ),
        (lambda: RotatedMeanAveragePrecision(class_names=["a", "A"]), "a"),
        (
            lambda: RotatedMeanAveragePrecision(class_names=["ship"]).update([ONE], [ONE]),
            r"labels of the 1 class_names, from 0, got -7 in preds\[0\]",
        ),
        (lambda: RotatedMeanAveragePrecision().update([ONE], []), "as many preds as target, .* got 1 and 0"),
        (lambda: RotatedMeanAveragePrecision().update([{"boxes": BOX}], [ONE]), r"'boxes' and 'labels', got 'boxes'"),
        (
            lambda: RotatedMeanAveragePrecision().update([ONE], [ONE | {"labels": torch.tensor([0.5])}]),
            "whole numbers in the labels",
        ),
    ],
)
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(RboxError, match=message):
        call()


# Three truths on an image, found by the first and third detection: the curve goes through (1/3, 1) and (2/3, 2/3).
THREE = [[50.0, 50, 40, 20, 0.3], [150, 50, 40, 20, 0.3], [250, 50, 40, 20, 0.3]]
RANKED = {
    "boxes": torch.tensor([THREE[0], [50, 200, 40, 20, 0.3], THREE[1]]),
    "scores": torch.tensor([0.9, 0.8, 0.7]),
    "labels": torch.tensor([1, 1, 1]),
}
ANNOTATED = {"boxes": torch.tensor(THREE), "labels": torch.tensor([1, 1, 1])}


@pytest.mark.parametrize(
    "protocol, expected",
    [
        ("voc07", (4 * 1 + 3 * 2 / 3) / 11),
        ("fair1m", (4 * 1 + 3 * 2 / 3) / 11),
        ("dota", (4 * 1 + 3 * 2 / 3) / 11),
        ("voc", 1 / 3 + 1 / 3 * 2 / 3),
        ("coco", (34 * 1 + 33 * 2 / 3) / 101),
    ],
)
def test_each_protocol_by_hand(protocol: Any, expected: float) -> None:
    metric = RotatedMeanAveragePrecision(
        protocol=protocol, class_names=["plane", "ship", "tank"], class_metrics=True, iou_thresholds=[0.5]
    )
    metric.update([RANKED], [ANNOTATED])
    found = figures(metric)
    assert found["map"] == found["map_50"] == pytest.approx(expected)
    assert found["map_per_class"] == [-1, pytest.approx(expected), -1]
    assert found["classes"] == [0, 1, 2]
    assert ("mar_100" in found) == (protocol == "coco")
    assert metric.geometry == ("quad" if protocol == "dota" else "rbox")


def test_boxes_of_another_convention() -> None:
    """Degrees, counter-clockwise: those of the truth, negative for the same rectangle."""
    degrees = LE90.degrees.counter_clockwise
    turned = [[x, y, w, h, -math.degrees(angle)] for x, y, w, h, angle in THREE]
    plain, converted = RotatedMeanAveragePrecision(), RotatedMeanAveragePrecision(convention=degrees)
    plain.update([RANKED], [ANNOTATED])
    of_degrees = [
        image | {"boxes": torch.tensor(turned)} for image in (ANNOTATED | {"scores": torch.ones(3)}, ANNOTATED)
    ]
    converted.update(of_degrees[:1], of_degrees[1:])
    assert figures(converted)["map"] == 1
    torch.testing.assert_close(converted.truths[0][:, :5], plain.truths[0][:, :5])
    with pytest.raises(RboxError, match="nonsense"):
        RotatedMeanAveragePrecision(convention="nonsense")


def test_metrics_of_other_conventions_are_kept_apart_in_a_collection() -> None:
    """torchmetrics has metrics of equal states share them from then on, as they are after a batch without boxes."""
    degrees = LE90.degrees.counter_clockwise
    metrics = {"radians": RotatedMeanAveragePrecision(), "degrees": RotatedMeanAveragePrecision(convention=degrees)}
    collection = MetricCollection(metrics)
    collection.update([NONE], [NONE])
    turned = [[x, y, w, h, -math.degrees(angle)] for x, y, w, h, angle in THREE]
    collection.update([ANNOTATED | {"scores": torch.ones(3)}], [ANNOTATED | {"boxes": torch.tensor(THREE)}])
    collection["degrees"].reset()
    collection["degrees"].update(
        [ANNOTATED | {"boxes": torch.tensor(turned), "scores": torch.ones(3)}],
        [ANNOTATED | {"boxes": torch.tensor(turned)}],
    )
    angles = [collection[name].truths[-1][0, 4].item() for name in metrics]
    assert angles == pytest.approx([0.3, 0.3])
    assert len(collection.compute_groups) == 2


UNSCORED = {key: value for key, value in RANKED.items() if key != "scores"}


def test_forgotten_scores_are_seen() -> None:
    """torchmetrics' own metric refuses them; detectors without confidences are scored, and the warning says how."""
    metric = RotatedMeanAveragePrecision()
    for forgotten in ([RANKED, UNSCORED], [UNSCORED, RANKED]):
        with pytest.raises(MetricsError, match=r"boxes on image [01] have none \(1 of 2 images"):
            metric.update(forgotten, [ANNOTATED, ANNOTATED])
    metric.update([RANKED, NONE], [ANNOTATED, NONE])
    metric.update([{key: value for key, value in NONE.items() if key != "scores"}], [NONE])  # nothing to score there
    with pytest.raises(MetricsError, match="some images have scores and others do not"):
        metric.update([UNSCORED], [ANNOTATED])
    metric.reset()
    with pytest.warns(UserWarning, match=r"preds have no 'scores', by which the protocol 'coco' ranks"):
        metric.update([UNSCORED], [ANNOTATED])
    metric.update([UNSCORED], [ANNOTATED])  # said once
    ones = RotatedMeanAveragePrecision()
    ones.update([UNSCORED | {"scores": torch.ones(3)}] * 2, [ANNOTATED] * 2)
    assert figures(metric) == figures(ones)


def test_scores_that_only_one_rank_has_are_seen() -> None:
    one, other = RotatedMeanAveragePrecision(), RotatedMeanAveragePrecision()
    one.update([RANKED], [ANNOTATED])
    with pytest.warns(UserWarning, match="no 'scores'"):
        other.update([UNSCORED], [ANNOTATED])
    for name in ("images", "detections", "truths"):  # as where they meet
        setattr(one, name, torch.cat([*getattr(one, name), *getattr(other, name)]))
    with pytest.raises(MetricsError, match="some images have scores and others do not"):
        one.compute()


def test_it_is_called_as_torchmetrics_own() -> None:
    for name in ("update", "compute", "plot"):
        ours, theirs = (
            list(inspect.signature(getattr(kind, name)).parameters)
            for kind in (RotatedMeanAveragePrecision, MeanAveragePrecision)
        )
        assert ours == theirs
    own = inspect.signature(MeanAveragePrecision.__init__).parameters
    shared = ["iou_thresholds", "max_detection_thresholds", "class_metrics"]
    parameters = inspect.signature(RotatedMeanAveragePrecision.__init__).parameters
    assert all(parameters[name].default == own[name].default for name in shared)


def drawn(axes: Any) -> dict[str, Any]:
    lines = {line.get_label(): np.ravel(np.array(line.get_ydata(), dtype=float)).tolist() for line in axes.lines}
    return {"lines": lines, "limits": axes.get_ylim(), "name": axes.get_ylabel()}


def test_plot_draws_what_torchmetrics_draws() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    metric = RotatedMeanAveragePrecision(class_metrics=True, class_names=["plane", "ship"])
    first = metric([RANKED], [ANNOTATED])
    second = metric([RANKED | {"boxes": torch.tensor(THREE)}], [ANNOTATED])
    names = [name for name in first if name != "classes" and "per_class" not in name and first[name] != -1]
    assert {"map", "map_50", "mar_100"} < set(names) < set(first)
    for value, plain in (
        (first, {name: first[name] for name in names}),
        ([first, second], [{name: step[name] for name in names} for step in (first, second)]),
    ):
        figure, axes = metric.plot(value)
        assert isinstance(figure, matplotlib.figure.Figure)
        _, expected = plot_single_or_multi_val(
            plain,
            higher_is_better=True,
            lower_bound=0.0,
            upper_bound=1.0,
            name="RotatedMeanAveragePrecision",
        )
        assert drawn(axes) == drawn(expected)
    _, axes = plt.subplots()
    assert metric.plot(ax=axes) == (None, axes)
    assert drawn(axes)["lines"]["map"] == [pytest.approx(metric.compute()["map"].item())]
    empty = RotatedMeanAveragePrecision()
    with pytest.warns(UserWarning, match="before the ``update``"):
        _, axes = empty.plot()
    assert drawn(axes)["lines"] == {"map": [-1]}
    plt.close("all")


def test_an_update_that_fails_leaves_no_trace() -> None:
    metric = RotatedMeanAveragePrecision()
    with pytest.raises(MetricsError):
        metric.update([ONE], [{"boxes": BOX}])
    metric.update([ONE], [ONE])
    assert figures(metric)["map"] == 1


# Which images each of two processes has; all of them in every case.
HELD = [
    [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]],
    [[11, 3], [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]],
    [[], list(range(12))],
    [list(range(11, -1, -1)), []],
]


def run_rank(rank: int, address: str) -> list[list[Any]]:
    """What one of two processes finds in each case: the figures of all, how many images it has, and then anew."""
    torch.distributed.init_process_group("gloo", address, rank=rank, world_size=2)
    try:
        preds, target = turned_images(12)
        metric = RotatedMeanAveragePrecision(class_metrics=True)
        found = []
        for held in HELD:
            metric.reset()
            for part in (held[rank][:2], held[rank][2:]):
                if part:
                    metric.update([preds[i] for i in part], [target[i] for i in part])
            # After they met, each has its own again, and goes on with it.
            found.append([figures(metric), sum(len(state) for state in metric.images)])
            metric.reset()
            metric.update(preds[rank : rank + 1], target[rank : rank + 1])
            found[-1].append(figures(metric))
        return found
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks() -> list[list[list[Any]]]:
    """What two processes find: this one, and one that runs this file as a script."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen([sys.executable, __file__, address, "1"], stdout=subprocess.PIPE, text=True) as other:
        try:
            found = run_rank(0, address)
            # Its last line: some versions of gloo say something before.
            return [found, json.loads(other.communicate(timeout=120)[0].splitlines()[-1])]
        finally:
            other.kill()


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(HELD)))
def test_ranks(ranks: list[list[list[Any]]], case: int) -> None:
    """Two processes give what one gives, to the last bit, whichever has which images, and also if one has none."""
    preds, target = turned_images(12)
    whole = RotatedMeanAveragePrecision(class_metrics=True)
    whole.update(preds, target)
    two = RotatedMeanAveragePrecision(class_metrics=True)
    two.update(preds[:2], target[:2])
    for rank, held in enumerate(HELD[case]):
        assert ranks[rank][case] == [figures(whole), len(held), figures(two)]


def test_importing_the_package_imports_none_of_what_is_slow() -> None:
    code = "import sys, rbox_metrics; assert not {'torch', 'torchmetrics', 'numba'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name, extra", [("RotatedMeanAveragePrecision", "torchmetrics"), ("diff_iou_rotated", "torch")]
)
def test_without_torch_the_error_says_what_to_install(name: str, extra: str) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchmetrics'] = None\n"
        "import rbox_metrics\n"
        f"assert {name!r} in dir(rbox_metrics)\n"
        f"try:\n    rbox_metrics.{name}\n"
        f"except ImportError as error:\n    assert \"pip install 'rbox-metrics[{extra}]'\" in str(error)\n"
        "else:\n    raise SystemExit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":  # the other process of `ranks`
    json.dump(run_rank(int(sys.argv[2]), sys.argv[1]), sys.stdout)


def test_the_order_of_an_images_boxes_matters_as_little_as_that_of_images() -> None:
    """Of equal scores on two images, one right and one wrong: which comes first is for the content to say."""
    hit, miss = [50.0, 50.0, 40.0, 20.0, 0.3], [90.0, 90.0, 10.0, 5.0, 0.0]
    others = [[10.0, 10.0, 5.0, 5.0, 0.0], [200.0, 10.0, 5.0, 5.0, 0.0]]
    figures = []
    for first, second in itertools.product((others, others[::-1]), repeat=2):
        metric = RotatedMeanAveragePrecision()
        preds = [
            {"boxes": [hit, *first], "scores": [0.5] * 3, "labels": [0] * 3},
            {"boxes": [*second, miss], "scores": [0.5] * 3, "labels": [0] * 3},
        ]
        target = [{"boxes": [hit, *first], "labels": [0] * 3}, {"boxes": [*second[::-1], hit], "labels": [0] * 3}]
        metric.update(preds, target)
        figures.append(metric.compute()["map"].item())
    assert len(set(figures)) == 1


def test_labels_beyond_torchmetrics_own_are_refused() -> None:
    boxes = [[50.0, 50.0, 40.0, 20.0, 0.3]]
    with pytest.raises(MetricsError, match="labels of at most 32 bits"):
        RotatedMeanAveragePrecision().update(
            [{"boxes": boxes, "scores": [0.5], "labels": [2**40]}], [{"boxes": boxes, "labels": [0]}]
        )
