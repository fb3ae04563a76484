"""The page's plain modules beside the packages whose rules they follow: overlaps, matching, label files, colours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, datasets, draw, quad_around, quad_to_rbox, rbox_to_quad
from rbox_formats.datasets import geojson
from rbox_metrics import box_iou_rotated, evaluate
from rbox_testing.fake_server import serve

NAMES = ClassNames(["plane", "ship", "small-vehicle"])


@pytest.fixture(scope="module")
def call(browser: Any) -> Iterator[Any]:
    """Call a function of a module in the browser: `call("geometry.js", "iou", a, b)`."""
    fake, server = serve()
    page = browser.new_page()
    page.goto(fake.url)

    def run(module: str, function: str, *arguments: Any) -> Any:
        script = "async ([module, name, args]) => (await import(`/js/${module}`))[name](...args)"
        return page.evaluate(script, [module, function, list(arguments)])

    run.page = page
    yield run
    page.close()
    server.shutdown()
    server.server_close()


def boxes_of(rng: np.random.Generator, count: int, *, spread: float = 60, offset: float = 0) -> np.ndarray:
    sides = rng.uniform(1, 50, (count, 2))
    return np.column_stack([rng.uniform(0, spread, (count, 2)) + offset, sides, rng.uniform(-4, 4, count)])


@pytest.mark.parametrize("offset", [0, 1e6])
def test_overlaps_are_those_of_rbox_metrics(call: Any, offset: float) -> None:
    rng = np.random.default_rng(0)
    first, second = boxes_of(rng, 60, offset=offset), boxes_of(rng, 60, offset=offset)
    first[0] = second[0]  # the same box
    first[1], second[1] = [*second[1, :4], second[1, 4] + np.pi], second[1]  # turned by half a turn
    first[2, 2], first[3, 2:4] = 0, 0  # without area
    first[4], second[4] = [offset, offset, 10, 10, 0], [offset + 10, offset, 10, 10, 0]  # side by side
    script = """async ([first, second]) => {
        const { iou } = await import("/js/geometry.js");
        return first.map((a) => second.map((b) => iou(a, b)));
    }"""
    found = np.array(call.page.evaluate(script, [first.tolist(), second.tolist()]))
    expected = box_iou_rotated(first, second)
    assert (expected > 0.01).sum() > 300
    # Far from the corner of the image the boxes themselves are rounded.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 if offset == 0 else 1e-9)
    assert found[0, 0] == 1


def test_corners_and_rectangles_are_those_of_rbox_formats(call: Any) -> None:
    rng = np.random.default_rng(1)
    script = """async ([boxes, outlines]) => {
        const { cornersOf, rectangleAround } = await import("/js/geometry.js");
        return [boxes.map(cornersOf), outlines.map(rectangleAround)];
    }"""
    boxes, outlines = boxes_of(rng, 50), rng.uniform(0, 100, (60, 9, 2))
    quads = rbox_to_quad(boxes)
    corners, around = call.page.evaluate(script, [boxes.tolist(), [*outlines.tolist(), *quads.tolist()]])
    np.testing.assert_allclose(corners, quads, atol=1e-12)
    around = np.array(around)
    # Of some outlines several rectangles have the least area, and either is right.
    expected = quad_to_rbox(np.array([quad_around(outline) for outline in outlines]).reshape(-1, 4, 2))
    np.testing.assert_allclose(around[:60, 2:4].prod(axis=1), expected[:, 2:4].prod(axis=1), rtol=1e-12)
    for box, outline in zip(around[:60], outlines, strict=True):
        turn = np.array([[np.cos(box[4]), -np.sin(box[4])], [np.sin(box[4]), np.cos(box[4])]])
        assert (np.abs((outline - box[:2]) @ turn) <= box[2:4] / 2 + 1e-9).all()
    np.testing.assert_allclose(box_iou_rotated(around[60:], boxes, aligned=True), 1, atol=1e-9)
    angles = around[:, 4]
    assert ((angles >= -np.pi / 2) & (angles < np.pi / 2)).all()
    assert (around[:, 2] >= around[:, 3]).all()


def test_points_on_a_line_and_one_point_have_a_rectangle(call: Any) -> None:
    assert call("geometry.js", "rectangleAround", [[0, 0], [3, 4], [6, 8]])[2:4] == pytest.approx([10, 0])
    assert call("geometry.js", "rectangleAround", [[5, 7]] * 4) == [5, 7, 0, 0, 0]


@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("scored", [True, False])
def test_outcomes_are_counted_as_rbox_metrics_counts_them(call: Any, iou_threshold: float, scored: bool) -> None:
    rng = np.random.default_rng([int(100 * iou_threshold), scored])
    truth = boxes_of(rng, 120, spread=400)
    near = np.concatenate([truth, truth[:60], truth[90:]])
    found = near + rng.normal(0, [3, 3, 3, 3, 0.1], (len(near), 5))
    found[:, 2:4] = np.abs(found[:, 2:4]) + 0.5
    labels = rng.integers(0, 3, len(truth))
    found_labels = np.concatenate([labels, labels[:60], labels[90:]])
    found_labels[::11] = (found_labels[::11] + 1) % 3
    difficult = np.arange(len(truth)) % 6 == 5
    scores = np.round(rng.uniform(0, 1, len(found)), 1) if scored else None  # with ties
    report = evaluate(
        [ImageRecord("a", boxes=truth, labels=labels, difficult=difficult)],
        [ImageRecord("a", boxes=found, labels=found_labels, scores=scores)],
        NAMES,
        protocol="voc",
        iou_thresholds=[iou_threshold],
    )
    script = """async ([detections, truths, threshold]) => {
        const { match, overlappingPairs } = await import("/js/matching.js");
        const { outcomes, missed, found, precision, recall, f1 } = match(
            detections, truths, overlappingPairs(detections, truths), threshold);
        return { outcomes: [...outcomes.values()], missed: missed.size, found: found.size, precision, recall, f1 };
    }"""
    detections = [
        {"name": NAMES[label], "box": box, "score": None if scores is None else scores[i]}
        for i, (box, label) in enumerate(zip(found.tolist(), found_labels.tolist(), strict=True))
    ]
    # Lookups of classes disregard case and dashes.
    truths = [
        {"name": NAMES[label].upper().replace("-", "_"), "box": box, "difficult": bool(hard)}
        for box, label, hard in zip(truth.tolist(), labels.tolist(), difficult.tolist(), strict=True)
    ]
    counted = call.page.evaluate(script, [detections, truths, iou_threshold])
    figures = report.figures
    assert counted["precision"] == pytest.approx(figures["precision_micro"], abs=1e-12)
    assert counted["recall"] == pytest.approx(figures["recall_micro"], abs=1e-12)
    assert counted["f1"] == pytest.approx(figures["f1_micro"], abs=1e-12)
    assert counted["found"] + counted["missed"] == (~difficult).sum()
    assert set(counted["outcomes"]) == {"true", "false", "ignored"}


def test_colours_of_classes_are_those_of_the_pictures(call: Any) -> None:
    script = """async () => {
        const { classColour } = await import("/js/view/colours.js");
        return Array.from({ length: 45 }, (_, label) => classColour(label));
    }"""
    expected = ["#{:02x}{:02x}{:02x}".format(*draw.class_colour(label)) for label in range(45)]
    assert call.page.evaluate(script) == expected


# Matrices for linear sRGB: Viénot, Brettel and Mollon (1999); for tritanopia Machado, Oliveira and Fernandes (2009).
SIGHTS = {
    "full": np.eye(3),
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "tritanopia": [[1.25553, -0.07675, -0.17878], [-0.07841, 0.93081, 0.1476], [0.00473, 0.69137, 0.3039]],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_outcomes_and_detectors_are_told_apart_by_their_colours(call: Any, sight: str) -> None:
    script = """async () => {
        const { OUTCOMES, SLOTS } = await import("/js/view/colours.js");
        return [Object.values(OUTCOMES), Object.values(SLOTS)];
    }"""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    for colours in call.page.evaluate(script):
        srgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours])
        linear = ((srgb / 255 + 0.055) / 1.055) ** 2.4
        f = np.cbrt(np.clip(linear @ np.array(SIGHTS[sight]).T, 0, 1) @ to_xyz.T / to_xyz.sum(axis=1))
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
        # Two is just to be seen side by side.
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 20


@pytest.fixture
def record() -> ImageRecord:
    rng = np.random.default_rng(3)
    quads = rbox_to_quad(boxes_of(rng, 12, spread=200))
    quads[0] = [[1, 1], [40, 3], [20, 20], [5, 30]]  # no rectangle
    return ImageRecord.from_quads(
        "scene", quads, rng.integers(0, 3, 12), difficult=np.arange(12) % 3 == 0, width=300, height=300
    )


@pytest.mark.parametrize("format_name, name", [("dota", "DOTA"), ("geojson", "GeoJSON"), ("labelme", "LabelMe")])
def test_label_files_of_rbox_formats_are_read(
    call: Any, record: ImageRecord, tmp_path: Path, format_name: str, name: str
) -> None:
    datasets.write(format_name, [record], tmp_path, None, NAMES)
    (path,) = (path for path in tmp_path.rglob("scene.*") if path.is_file())
    read = call("labels/index.js", "readLabels", path.read_text(), path.name)
    assert read["format"] == name
    objects = read["objects"]
    assert [each["name"] for each in objects] == [NAMES[label] for label in record.labels]
    assert [each["difficult"] for each in objects] == record.difficult.tolist()
    ious = box_iou_rotated(np.array([each["box"] for each in objects]), record.boxes, aligned=True)
    np.testing.assert_allclose(ious, 1, atol=1e-9)
    for each, quad in zip(objects, record.corners, strict=True):
        np.testing.assert_allclose(sorted(each["corners"]), sorted(quad.tolist()), atol=1e-9)


DEGREES = {"transform": [2e-6, 1e-6, 3.0, 1e-6, -2e-6, 54.0], "crs": "EPSG:4326"}
METRES = {"transform": [0.4, -0.3, 5e5, -0.3, -0.4, 6e6], "crs": "EPSG:32631"}


@pytest.mark.parametrize("place", [DEGREES, METRES], ids=["degrees", "metres"])
def test_map_coordinates_of_the_images_own_system_become_pixels(call: Any, record: ImageRecord, place: Any) -> None:
    layer = geojson.collection(record, NAMES, geojson.Placement(*place["transform"], place["crs"]))
    image = {"size": {"width": 300, "height": 300}, "map": place}
    objects = call("labels/index.js", "readLabels", json.dumps(layer), "a.geojson", image)["objects"]
    for each, quad in zip(objects, record.corners, strict=True):
        np.testing.assert_allclose(sorted(each["corners"]), sorted(quad.tolist()), atol=1e-5)
    # Pixels stay pixels, on a map too.
    layer = geojson.collection(record, NAMES)
    objects = call("labels/index.js", "readLabels", json.dumps(layer), "a.geojson", image)["objects"]
    for each, quad in zip(objects, record.corners, strict=True):
        np.testing.assert_allclose(sorted(each["corners"]), sorted(quad.tolist()), atol=1e-9)


def test_the_names_of_a_system_of_coordinates_are_those_of_rbox_formats(call: Any) -> None:
    script = """async ([text, crs]) => {
        const { readLabels } = await import("/js/labels/index.js");
        const image = { size: { width: 9, height: 9 }, map: { transform: [1, 0, 0, 0, 1, 0], crs } };
        try { return readLabels(text, "a.geojson", image).format; } catch (error) { return error.message; }
    }"""
    for name, crs in (
        ("urn:ogc:def:crs:EPSG::32631", "EPSG:32631"),
        ("urn:ogc:def:crs:EPSG:8.9:32631", "EPSG:32631"),
        ("EPSG:32631", "EPSG:32631"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"),
    ):
        text = json.dumps({"crs": {"properties": {"name": name}}, "features": []})
        assert call.page.evaluate(script, [text, crs]) == "GeoJSON"
        refused = call.page.evaluate(script, [text, "EPSG:25832"])
        assert refused.endswith(f"or in its own system, EPSG:25832, got a layer in map coordinates, {crs}")
    text = json.dumps({"crs": {"properties": {"name": "my own"}}, "features": []})
    assert call.page.evaluate(script, [text, None]).endswith("pixels of the image, got a layer in map coordinates")


def test_shapes_of_labelme_that_are_no_polygons(call: Any) -> None:
    shapes = [
        {"label": "a", "shape_type": "rectangle", "points": [[30, 10], [10, 20]]},
        {"label": "b", "shape_type": "circle", "points": [[50, 50], [53, 54]], "flags": {"difficult": True}},
        {"label": "c", "shape_type": "point", "points": [[1, 1]]},
        {"label": "d", "points": [[0, 0], [10, 0], [10, 5], [5, 5], [0, 5], [0, 0]]},
    ]
    read = call("labels/index.js", "readLabels", json.dumps({"shapes": shapes}), "a.json")["objects"]
    assert [(each["name"], each["difficult"]) for each in read] == [("a", False), ("b", True), ("d", False)]
    assert read[0]["corners"] == [[10, 10], [30, 10], [30, 20], [10, 20]]
    assert read[1]["box"][:4] == [50, 50, 10, 10]
    assert read[2]["box"][:4] == pytest.approx([5, 2.5, 10, 5])


BROKEN = {
    "7 fields": ("1 2 3 4 5 6 ship", "a.txt, line 1: expected 8 coordinates, a class and perhaps a difficulty, got 7"),
    "a word": ("1 2 3 4 5 6 7 x ship 0", "got 'x' as number 8"),
    "infinite": ("1 2 3 4 5 6 7 1e999 ship 0", "got '1e999' as number 8"),
    "hexadecimal": ("1 2 3 4 5 6 7 0x10 ship 0", "got '0x10' as number 8"),
    "difficulty": ("gsd:1\n1 2 3 4 5 6 7 8 ship 9", "a.txt, line 2: expected a difficulty among 0, 1, 2, got '9'"),
    "no JSON": ('{"shapes": ', "expected JSON"),
    "other JSON": ('{"images": []}', "expected labels as GeoJSON"),
    "map": ('{"crs": {}, "features": []}', "got a layer in map coordinates"),
    "no class": (
        '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}}]}',
        "features[0]: expected a property with the class",
    ),
    "no points": (
        '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[0, 0]]]}, "properties": {"class": "a"}}]}',
        "features[0]: expected an outline of 3 points",
    ),
    "shape": ('{"shapes": [{"label": "a", "shape_type": "cube", "points": []}]}', "shapes[0]: expected a shape among"),
    "points": ('{"shapes": [{"label": "a", "points": [[0, 0], [1, "x"], [2, 2]]}]}', "expected at least 3 points"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_label_file_says_where(call: Any, case: str) -> None:
    text, message = BROKEN[case]
    script = """async (text) => {
        const { readLabels } = await import("/js/labels/index.js");
        try { readLabels(text, "a.txt"); } catch (error) { return [error.name, error.message]; }
    }"""
    name, said = call.page.evaluate(script, text)
    assert name == "PageError"
    assert message in said


def test_events_come_whole_however_the_stream_is_cut(call: Any) -> None:
    text = 'event: box\r\ndata: {"a": 1}\r\n\r\n: a comment\n\nevent: text\ndata: é\ndata: two\n\ndata: bare\n\n'
    script = """async ([text, size]) => {
        const { eventsOf } = await import("/js/sse.js");
        const bytes = new TextEncoder().encode(text);
        const body = new ReadableStream({ start(controller) {
            for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
            controller.close();
        }});
        const found = [];
        for await (const event of eventsOf(body)) found.push(event);
        return found;
    }"""
    expected = [
        {"event": "box", "data": '{"a": 1}'},
        {"event": "text", "data": "é\ntwo"},
        {"event": "message", "data": "bare"},
    ]
    for size in (1, 2, 3, 7, 1000):
        assert call.page.evaluate(script, [text, size]) == expected


def test_pieces_in_view_cover_the_pane_at_the_level_that_is_sharp_enough(call: Any) -> None:
    image, pane = {"width": 10_000, "height": 7_000}, {"width": 800, "height": 600}
    for scale, level in ((1, 0), (0.6, 0), (0.3, 1), (0.08, 3), (4, 0)):
        view = {"scale": scale, "x": -2000 * scale, "y": -1500 * scale}
        pieces = call("view/tiles.js", "piecesInView", image, pane, view, 1)
        assert {piece["level"] for piece in pieces} == {level}
        assert min(piece["left"] for piece in pieces) <= 2000
        assert min(piece["top"] for piece in pieces) <= 1500
        right, bottom = 2000 + 800 / scale, 1500 + 600 / scale
        assert max(piece["left"] + piece["width"] for piece in pieces) >= min(right, 10_000)
        assert max(piece["top"] + piece["height"] for piece in pieces) >= min(bottom, 7_000)
        assert len(pieces) <= 24  # what is out of view is not drawn


def test_signals_run_what_reads_them_once_a_turn(call: Any) -> None:
    script = """async () => {
        const { derived, effect, signal } = await import("/js/signals.js");
        const [a, b, which] = [signal(1), signal(10), signal(true)];
        const seen = [], computed = [];
        const sum = derived(() => { computed.push(1); return a.value + b.value; });
        effect(() => seen.push(which.value ? sum.value : -1));
        a.value = 2; b.value = 20;
        await null; await null;
        which.value = false;
        await null; await null;
        b.value = 30;  // no longer read
        await null; await null;
        which.value = true;
        await null; await null;
        return [seen, computed.length, sum.peek()];
    }"""
    assert call.page.evaluate(script) == [[11, 22, -1, 32], 3, 32]
