"""What is drawn are the report's numbers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rbox_metrics import Report
from rbox_metrics.plots import figures
from rbox_metrics.plots.style import line_style, short_number, shortened


def lines(container: Any, gid: str) -> list[np.ndarray]:
    """The points (N, 2) of the lines of a name."""
    return [np.array(line.get_data()).T for line in container.lines if line.get_gid() == gid]


def draw(name: str, **reports: Report) -> Figure:
    part = {"pr-curves": "curves", "pr-classes": "curves", "score-thresholds": "sweep"}.get(name, name.split("-")[0])
    return figures({run: {part: report.to_dict()[part]} for run, report in reports.items()})[name]


def legend_texts(container: Any) -> list[str]:
    (legend,) = container.legends
    return [text.get_text() for text in legend.get_texts()]


def test_mean_curves_of_runs(report: Report, other: Report) -> None:
    figure = draw("pr-curves", a=report, b=other)
    (axes,) = figure.axes
    recalls = np.linspace(0, 100, 101)
    for name, each in (("a", report), ("b", other)):
        (points,) = lines(axes, name)
        np.testing.assert_allclose(points, np.stack([recalls, 100 * each.curves.mean()], axis=1))
    assert len(axes.lines) == 2
    assert legend_texts(figure) == [
        f"{name}, mAP {100 * r.at[0].map:.1f} %" for name, r in (("a", report), ("b", other))
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall (%)", "precision (%)")
    assert axes.get_title("left") == "Precision over recall, IoU 0.5"


def test_classes_are_thin_behind_the_mean_of_a_single_run(report: Report) -> None:
    (axes,) = draw("pr-curves", a=report).axes
    widths = {line.get_gid(): line.get_linewidth() for line in axes.lines}
    assert list(widths) == ["ship", "storage tank", "plane", "a"]
    assert max(widths[name] for name in report.class_names) < widths["a"] / 2
    for curve in report.curves.classes:
        (points,) = lines(axes, curve.name)
        np.testing.assert_allclose(points[:, 1], 100 * curve.sampled())


def test_classes_are_named_beside_their_curves(many: Report, report: Report, one_class: Report) -> None:
    """The best and the worst of many, each in its line's colour; the others are grey, and counted."""

    def named(each: Report) -> tuple[dict[str, str], Any]:
        (axes,) = draw("pr-curves", a=each).axes
        return {text.get_text(): text.get_color() for text in axes.texts}, axes

    texts, axes = named(report)
    colours = {line.get_gid(): line.get_color() for line in axes.lines}
    for curve in report.curves.classes:
        assert texts[f"{curve.name} {100 * curve.average_precision:.1f}"] == colours[curve.name]
    assert texts[f"mean, mAP {100 * report.at[0].map:.1f} %"] == colours["a"] == "black"
    assert axes.get_title("left") == "a: precision over recall, IoU 0.5"

    texts, axes = named(many)
    found = sorted((c.average_precision for c in many.curves.classes if c.average_precision > 0), reverse=True)
    best = [f"{100 * value:.1f}" for value in (*found[:3], *found[-3:])]
    assert sorted(text.split()[-1] for text in texts if text.startswith("Kind")) == sorted(best)
    counts = {line.get_color() for line in axes.lines}
    assert len(counts) == 8  # six, grey and black
    nothing = sum(c.average_precision == 0 for c in many.curves.classes)
    assert f"{len(found) - 6} between" in " ".join(texts)
    assert (f"{nothing} at 0" in " ".join(texts)) == bool(nothing)
    assert "nowhere" not in {line.get_gid() for line in axes.lines}

    texts, _ = named(one_class)
    assert list(texts) == [f"ship, AP {100 * one_class.at[0].map:.1f} %"]


def test_no_name_is_over_another(many: Report, report: Report) -> None:
    for each in (many, report):
        figure = draw("pr-curves", a=each)
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without the joints
        assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_a_panel_for_each_class(many: Report) -> None:
    figure = draw("pr-classes", a=many)
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.axison}
    there = [curve for curve in many.curves.classes if curve.truths]
    assert len(panels) == len(there) == 37
    for name, curve in zip(panels, there, strict=True):
        texts = [text.get_text() for text in panels[name].texts]
        (points,) = lines(panels[name], curve.name)
        np.testing.assert_allclose(points[:, 1], 100 * curve.sampled())
        assert texts == [f"AP {100 * curve.average_precision:.1f}"]
    assert figure.get_suptitle().splitlines() == [
        "a: precision over recall of each class, IoU 0.5",
        "1 class without truth left out",
    ]


def test_runs_with_other_classes_share_panels_by_name(report: Report, one_class: Report) -> None:
    figure = draw("pr-classes", a=one_class, b=report)
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.axison}
    assert list(panels) == ["ship", "storage tank", "plane"]
    assert [len(axes.lines) for axes in panels.values()] == [2, 1, 1]
    # A run looks the same in every panel.
    assert panels["ship"].lines[1].get_color() == panels["plane"].lines[0].get_color() == line_style(1)["color"]
    assert legend_texts(figure) == ["a", "b"]


SWEPT = [
    ["precision_micro", "recall_micro", "f1_micro", "f1_macro", "f1_lmmrotate"],
    ["map_nc", "map_nc_random", "map_nc_tied"],
]


def test_sweep_of_a_single_run(report: Report) -> None:
    figure = draw("score-thresholds", a=report)
    for half, axes, names in zip(figure.subfigs, figure.axes, SWEPT, strict=True):
        bests = iter(lines(axes, "best"))
        for text, name in zip(legend_texts(half), names, strict=False):
            (points,) = lines(axes, name)
            values = getattr(report.sweep, name)
            np.testing.assert_allclose(points, np.stack([report.sweep.thresholds, 100 * values], axis=1))
            if name in ("precision_micro", "recall_micro"):
                assert text == name.removesuffix("_micro")
                continue
            best = report.sweep.best(name)
            np.testing.assert_allclose(next(bests), [[best.threshold, 100 * best.value]])
            assert text.endswith(f"best {100 * best.value:.1f} from {best.threshold:g}")
        assert axes.get_xlabel() == "score threshold"
    (band,) = figure.axes[1].collections
    low, high = (100 * (report.sweep.map_nc_random + sign * report.sweep.map_nc_spread) for sign in (-1, 1))
    ends = band.get_paths()[0].get_extents()
    assert (ends.y0, ends.y1) == pytest.approx((low.min(), high.max()))
    assert [axes.get_ylabel() for axes in figure.axes] == ["%", "mAP_nc (%)"]
    assert figure.axes[0].get_title("left") == "a: precision, recall, F1, IoU 0.5"


def test_a_figure_that_no_run_has_is_left_out(report: Report) -> None:
    """LMMRotate's F1 is of its own thresholds, and not known of boxes without scores, for instance."""
    part = report.to_dict()["sweep"]
    part["f1_lmmrotate"] = [None] * len(part["f1_lmmrotate"])
    alone = figures({"a": {"sweep": part}})["score-thresholds"]
    assert "LMMRotate's F1" not in " ".join(legend_texts(alone.subfigs[0]))
    both = figures({"a": {"sweep": part}, "b": {"sweep": part}})["score-thresholds"]
    titles = [axes.get_title("left") for axes in both.axes if axes.axison]
    assert titles[:4] == ["Precision", "Recall", "F1", "F1, mean over classes"]
    assert len(titles) == 7


def test_lmmrotates_thresholds_are_ringed(report: Report) -> None:
    lower, upper = draw("score-thresholds", a=report).axes
    (rings,) = lines(upper, "LMMRotate")
    nine = [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.7]
    np.testing.assert_array_equal(rings[:, 0], nine)
    np.testing.assert_allclose(rings[:, 1], 100 * report.sweep.map_nc[[round(20 * value) for value in nine]])
    (rings,) = lines(lower, "LMMRotate")
    np.testing.assert_allclose(rings[:, 0], np.arange(10) / 10)
    np.testing.assert_allclose(rings[:, 1], 100 * report.sweep.f1_lmmrotate[::2])


def test_sweeps_of_runs_stand_in_a_panel_for_each_figure(report: Report, other: Report) -> None:
    figure = draw("score-thresholds", a=report, b=other)
    panels = [axes for axes in figure.axes if axes.axison]
    for axes, name in zip(panels, SWEPT[0] + SWEPT[1], strict=True):
        for drawn, each in zip(lines(axes, name), (report, other), strict=True):
            np.testing.assert_allclose(drawn[:, 1], 100 * getattr(each.sweep, name))
        if name in ("precision_micro", "recall_micro"):
            assert not axes.texts
            continue
        bests = [each.sweep.best(name) for each in (report, other)]
        assert [text.get_text() for text in axes.texts] == [f"{100 * b.value:.1f} from {b.threshold:g}" for b in bests]
    assert legend_texts(figure)[:2] == ["a", "b"]


def test_bests_of_many_runs_are_the_highest_alone(report: Report, other: Report) -> None:
    figure = draw("score-thresholds", **{f"run {k}": report for k in range(5)}, b=other)
    best = max((each.sweep.best("f1_micro") for each in (report, other)), key=lambda best: best.value)
    (text,) = figure.axes[2].texts
    assert text.get_text() == f"{100 * best.value:.1f} from {best.threshold:g}"


def test_confusion_shows_shares_and_counts(report: Report) -> None:
    figure = draw("confusion-a", a=report)
    axes, bar = figure.axes
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * report.confusion.by_truth)
    written = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}
    counts = report.confusion.counts
    assert written == {cell: str(counts[cell]) for cell in zip(*np.nonzero(counts), strict=True)}
    names = [*report.class_names, "background"]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("truth", "detected as")
    assert "(%)" in bar.get_ylabel()


def test_confusion_of_many_classes_has_no_counts_and_no_empty_class(many: Report) -> None:
    axes, _ = draw("confusion-a", a=many).axes
    counts = many.confusion.counts
    there = [name for k, name in enumerate(many.confusion.labels) if counts[k].any() or counts[:, k].any()]
    assert "nowhere" not in there
    assert [label.get_text() for label in axes.get_yticklabels()] == there
    assert not axes.texts
    assert axes.figure.get_figwidth() < 8.5


def test_confusion_hatches_rows_without_truths(no_truth: Report) -> None:
    axes, _ = draw("confusion-a", a=no_truth).axes
    hatched = [round(patch.get_y() + 0.5) for patch in axes.patches if patch.get_hatch()]
    counts = no_truth.confusion.counts
    assert hatched == [row for row in range(3) if not counts[row].any()] == [0, 1, 2]
    shares = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert np.isnan(shares[:3]).all()
    np.testing.assert_allclose(shares[3, :3], 100 * counts[3, :3] / counts[3].sum())


def test_placement_shows_every_match(report: Report) -> None:
    upper, lower = draw("placement-a", a=report).axes
    placement = report.placement
    degrees = np.degrees(placement.angle_error)
    far = int((degrees > lower.get_xlim()[1]).sum())
    assert sum("beyond" in text.get_text() for text in lower.texts) == bool(far)
    for axes, values, beyond in ((upper, 100 * placement.iou, 0), (lower, degrees, far)):
        edges = [bar.get_x() for bar in axes.patches] + [axes.get_xlim()[1]]
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_array_equal(heights, np.histogram(values, edges)[0])
        assert sum(heights) >= 0.95 * len(placement.iou)
        assert sum(heights) == len(placement.iou) - beyond
    assert upper.lines[0].get_xdata()[0] == pytest.approx(100 * placement.iou.mean())
    assert lower.lines[0].get_xdata()[0] == pytest.approx(np.degrees(np.median(placement.angle_error)))
    assert upper.get_xlabel() == "IoU of match and truth (%)"
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("angle error (degrees)", "matches")


def test_angles_are_shown_as_far_as_nearly_all_go(report: Report) -> None:
    """Ninety-six errors of up to 4 degrees and four of 80, by hand; reports of before have bins of 5 degrees alone."""
    errors = np.radians(np.r_[np.linspace(0.1, 4, 96), [80.0] * 4])
    placement = replace(report.placement, iou=np.full(100, 0.8), angle_error=errors)
    part = placement.to_dict()
    assert part["angle_error_histogram_degrees"]["counts"] == [96, *[0] * 15, 4, 0]
    fitted = part["angle_error_fitted_histogram_degrees"]
    assert (fitted["edges"][0], fitted["edges"][-1], sum(fitted["counts"])) == (0, 5, 96)
    _, lower = figures({"a": {"placement": part}})["placement-a"].axes
    assert "4 beyond 5°" in {text.get_text() for text in lower.texts}
    del part["angle_error_fitted_histogram_degrees"]
    _, lower = figures({"a": {"placement": part}})["placement-a"].axes
    assert lower.get_xlim() == (0, 90)


def test_bars_begin_at_nothing(report: Report, other: Report) -> None:
    """A bar's length is its count: no axis with bars is logarithmic."""
    drawn = figures({"a": report.to_dict(), "b": other.to_dict()})
    for figure in (*drawn.values(), *figures({"a": report.to_dict()}).values()):
        for axes in figure.axes:
            assert "log" not in (axes.get_xscale(), axes.get_yscale())
    assert drawn["calibration"].axes[1].get_ylim()[0] == 0
    assert drawn["errors"].axes[1].get_xlim()[0] == 0


def test_placement_without_matches(nothing_found: Report) -> None:
    for axes in draw("placement-a", a=nothing_found).axes:
        assert [text.get_text() for text in axes.texts] == ["no matches"]
        assert not axes.lines


def test_calibration_shows_bins_that_are_not_empty(report: Report, other: Report, unscored: Report) -> None:
    figure = draw("calibration", a=report, b=unscored, c=other)
    upper, lower = figure.axes
    counts = {patch.get_gid(): patch.get_data() for patch in lower.patches}
    assert list(counts) == ["a", "c"]
    for name, each in (("a", report), ("c", other)):
        calibration = each.calibration
        (points,) = lines(upper, name)
        full = calibration.counts > 0
        np.testing.assert_allclose(points, np.stack([calibration.confidence, 100 * calibration.accuracy], axis=1)[full])
        np.testing.assert_array_equal(counts[name].values, calibration.counts)
        np.testing.assert_allclose(counts[name].edges, calibration.edges)
    assert (other.calibration.counts == 0).any()
    assert legend_texts(figure) == [
        f"a, ECE {100 * report.calibration.ece:.1f} %",
        f"c, ECE {100 * other.calibration.ece:.1f} %",
        "perfectly calibrated",
    ]


def test_no_calibration_without_scores(unscored: Report, nothing_found: Report) -> None:
    assert "calibration" not in figures({"a": unscored.to_dict(), "b": nothing_found.to_dict()})


def test_errors_show_costs_and_counts(report: Report, other: Report) -> None:
    figure = draw("errors", a=report, b=other)
    left, right = figure.axes
    kinds = [label.get_text() for label in left.get_yticklabels()]
    for run, each in enumerate((report, other)):
        errors = each.errors
        assert kinds == [kind.replace("_", " ") for kind in errors.map_costs]
        bars = left.containers[run]
        np.testing.assert_allclose([bar.get_width() for bar in bars], 100 * np.array(list(errors.map_costs.values())))
        # The detections of the six kinds, and the truths that are of no such kind.
        expected = [*errors.false_positives.sum(axis=1), errors.not_found[-1].sum()]
        bars = right.containers[run]
        assert [bar.get_width() for bar in bars] == expected
        texts = [text.get_text() for text in right.texts][run * 7 : run * 7 + 7]
        assert texts == [f"{count:,}" for count in expected]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first kind is on top
    assert (left.get_xlabel(), right.get_xlabel()) == ("AP lost (percentage points)", "errors")


def test_errors_without_truth_cost_nothing_that_is_known(no_truth: Report) -> None:
    left, _ = draw("errors", a=no_truth).axes
    assert [text.get_text() for text in left.texts] == ["-"] * 7


def test_thresholds_that_differ_are_named(report: Report) -> None:
    part = report.to_dict()["curves"]
    drawn = figures({"a": {"curves": part}, "b": {"curves": {**part, "iou_threshold": 0.75}}})["pr-curves"]
    assert drawn.axes[0].get_title("left") == "Precision over recall"
    assert [text.split(",")[0] for text in legend_texts(drawn)] == ["a (IoU 0.5)", "b (IoU 0.75)"]


def test_no_two_of_the_first_runs_look_alike() -> None:
    looks = [tuple(line_style(number).values()) for number in range(28)]
    assert len(set(looks)) == 28
    assert len({colour for colour, _ in looks[:7]}) == 7
    assert all(one[1] != following[1] for one, following in pairwise(looks))


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0"),
        (9999, "9999"),
        (10_000, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (9_949_999, "9.9M"),
        (9_950_000, "10M"),
        (123_456_789, "123M"),
    ],
)
def test_short_numbers(count: int, text: str) -> None:
    assert short_number(count) == text


@pytest.mark.parametrize("text, letters, expected", [("abcdef", 6, "abcdef"), ("abcdefghij", 8, "abc...ij")])
def test_shortened(text: str, letters: int, expected: str) -> None:
    assert shortened(text, letters) == expected
