"""The page in a real browser: drop, detect, filter, compare, download, by mouse and by keyboard."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, predictions, rbox_to_quad, synthetic
from rbox_formats.datasets import geojson
from rbox_metrics import box_iou_rotated, evaluate
from rbox_testing.fake_server import ON_THE_MAP, Detector, scenes, truth_of

SHOWN = "#stage .boxes .box.shown"
ROWS = "#results .row:not([hidden])"


def png(width: int = 320, height: int = 240) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def drop(page: Any, *files: tuple[str, bytes]) -> None:
    """Drop files on the page, as a mouse does."""
    script = """(files) => {
        const transfer = new DataTransfer();
        for (const [name, content] of files) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
        }
        return transfer;
    }"""
    coded = [[name, base64.b64encode(content).decode()] for name, content in files]
    transfer = page.evaluate_handle(script, coded)
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#stage", kind, {"dataTransfer": transfer})


def detected(page: Any, *slots: str) -> None:
    """Wait until detectors are done."""
    for slot in slots:
        page.locator(f"#run-{slot}", has_text="boxes in").wait_for()


def set_threshold(page: Any, slot: str, value: float) -> None:
    page.locator(f"#threshold-{slot}").fill(str(value))


def fetch(page: Any, name: str, folder: Path) -> Path:
    """Download by a button."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def count_of(page: Any, selector: str) -> int:
    page.evaluate("() => new Promise(requestAnimationFrame)")  # what waits for the next frame
    return page.locator(selector).count()


@pytest.fixture
def both(visit: Callable[..., Any]) -> Any:
    """Return the page with a scene, its truth, and what both detectors found."""
    page = visit("?scene=harbour&b=retinanet")
    detected(page, "A", "B")
    return page


def test_a_dropped_image_is_shown_with_its_boxes(visit: Any, server: Any, shoot: Any) -> None:
    page = visit()
    shoot(page, "empty")
    page.locator("#model-A").select_option("retinanet")
    page.evaluate("document.body.classList.add('dropping')")
    shoot(page, "dropping")
    page.evaluate("document.body.classList.remove('dropping')")
    drop(page, ("town.png", png()))
    detected(page, "A")
    set_threshold(page, "A", 0)
    assert count_of(page, SHOWN) == count_of(page, ROWS) == 4
    assert "town.png" in page.locator("#image-name").inner_text()
    assert "320 × 240" in page.locator("#image-name").inner_text()
    (asked,) = (line for line in server.requests if line.startswith("POST"))
    assert asked == "POST /v1/models/retinanet/detect?format=json"
    # The image is drawn, and each box lies where the server said.
    middle = page.locator("#stage canvas").first.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
    )
    assert middle == [90, 90, 90, 255]
    points = page.locator(SHOWN).evaluate_all("(all) => all.map((one) => one.getAttribute('points'))")
    expected = server.detectors["retinanet"].found("town", 320, 240)["record"]["boxes"]
    drawn = sorted(np.array([list(map(float, re.split("[ ,]", text))) for text in points]).tolist())
    assert np.array(drawn) == pytest.approx(np.array(sorted(rbox_to_quad(expected).reshape(-1, 8).tolist())))


def test_files_are_chosen_without_a_mouse(visit: Any) -> None:
    page = visit()
    page.locator("#files").set_input_files([{"name": "a.png", "mimeType": "image/png", "buffer": png()}])
    detected(page, "A")
    assert page.locator("#image-name strong").inner_text() == "a.png"


def test_the_slider_and_the_classes_act_at_once_in_the_browser(both: Any, server: Any) -> None:
    asked = len(server.requests)
    answer = server.detectors["retinanet"].found("harbour", 640, 640)
    scores, names = np.array(answer["record"]["scores"]), np.array(answer["names"])
    for threshold in (0.0, 0.5, 0.8, 1.0):
        set_threshold(both, "B", threshold)
        assert both.locator("#threshold-B-value").inner_text() == f"{threshold:.2f}"
        assert count_of(both, f"{SHOWN}[data-layer=B]") == (scores >= threshold).sum()
        assert count_of(both, f"{ROWS}[data-key^=B]") == (scores >= threshold).sum()
        # What has no score passes.
        assert count_of(both, f"{SHOWN}[data-layer=A]") == 7
    set_threshold(both, "B", 0)
    both.locator("#class-list label", has_text="plane").click()
    assert count_of(both, f"{SHOWN}[data-layer=B]") == (names != "plane").sum()
    assert both.evaluate("document.activeElement.dataset.key") == "plane"  # the focus stays
    both.locator("#no-classes").click()
    assert count_of(both, SHOWN) == count_of(both, ROWS) == 0
    assert "No box passes the filters" in both.locator("#no-results").inner_text()
    both.locator("#all-classes").click()
    assert count_of(both, f"{SHOWN}[data-layer=B]") == len(names)
    assert len(server.requests) == asked


def test_boxes_rows_and_text_light_each_other(both: Any, shoot: Any) -> None:
    row = both.locator(f"{ROWS}[data-key=A-1]")
    row.hover()
    assert count_of(both, f"{SHOWN}[data-layer=A][data-index='1'][data-pointed]") == 1
    assert count_of(both, "#answers mark[data-pointed]") == 1
    label = both.locator("#stage .label")
    assert label.inner_text().startswith(row.locator(".grow").inner_text())
    row.click()
    assert count_of(both, f"{SHOWN}[data-layer=A][data-index='1'][data-selected]") == 1
    assert row.get_attribute("aria-selected") == "true"
    piece = both.locator("#answers mark[data-selected]")
    assert piece.inner_text().startswith(row.locator(".grow").inner_text())
    shoot(both, "selected")

    both.locator("#answers mark").nth(2).hover()
    assert count_of(both, f"{SHOWN}[data-layer=A][data-index='2'][data-pointed]") == 1
    both.locator("#answers mark").nth(2).click()
    assert both.locator("#results [aria-selected=true]").get_attribute("data-key") == "A-2"

    box = both.locator(f"{SHOWN}[data-layer=A][data-index='0']").bounding_box()
    both.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    both.locator("#results .row[data-pointed]").wait_for()
    assert not label.is_hidden()
    both.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert count_of(both, "#stage .box[data-selected]") == 1
    both.keyboard.press("Escape")


def figures(server: Any, model: str, iou_threshold: float, threshold: float = 0) -> dict[str, float]:
    """Return precision, recall and F1 of what a detector found on the first scene, by rbox-metrics."""
    record = scenes()["harbour"][1]
    answer = server.detectors[model].found("harbour", 640, 640)["record"]
    scores = np.array(answer["scores"] or np.ones(len(answer["boxes"])))
    kept = scores >= threshold
    found = ImageRecord(
        "harbour", boxes=np.array(answer["boxes"])[kept], labels=np.array(answer["labels"])[kept], scores=scores[kept]
    )
    difficult = np.arange(len(record.boxes)) % 7 == 6
    truth = ImageRecord.from_quads("harbour", record.corners, record.labels, difficult=difficult)
    report = evaluate([truth], [found], synthetic.CLASS_NAMES, protocol="voc", iou_thresholds=[iou_threshold])
    return {name: report.figures[f"{name}_micro"] for name in ("precision", "recall", "f1")}


def test_true_false_and_missed_are_those_of_rbox_metrics(both: Any, server: Any, shoot: Any) -> None:
    set_threshold(both, "B", 0)
    for iou_threshold in (0.5, 0.85, 0.95):
        both.locator("#iou").fill(str(iou_threshold))
        rows = both.locator("#score-table tbody tr").all()
        for row, model in zip(rows, ("florence", "retinanet"), strict=True):
            cells = row.locator("td").all_inner_texts()
            expected = figures(server, model, iou_threshold)
            assert [float(cell) for cell in cells[3:]] == pytest.approx(list(expected.values()), abs=0.005)
            slot = row.locator("th").inner_text()
            signs = both.locator(f"{ROWS}[data-key^={slot}] .sign").all_inner_texts()
            assert [str(signs.count("✓")), str(signs.count("✕"))] == cells[:2]
    shoot(both, "truth")
    both.set_viewport_size({"width": 1280, "height": 1600})  # the list has only rows in view
    assert count_of(both, "#results .group-title") == 4
    # Where both are drawn in one place, an object is missed if neither found it.
    number = "(all) => all.map((one) => one.dataset.key.split('-').pop())"
    by_a, by_b = (set(both.locator(f"{ROWS}[data-key^=missed-{slot}]").evaluate_all(number)) for slot in "AB")
    drawn = both.locator(f"{SHOWN}.dash-dotted").evaluate_all("(all) => all.map((one) => one.dataset.index)")
    assert set(drawn) == by_a & by_b
    assert drawn
    # An object that both missed has two rows, and arrow keys pass both.
    both.locator("#results").focus()
    passed = []
    both.keyboard.press("Home")
    for _ in range(both.locator(ROWS).count()):
        passed.append(both.locator("#results").get_attribute("aria-activedescendant"))
        both.keyboard.press("ArrowDown")
    assert len(set(passed)) == both.locator(ROWS).count()
    shoot(both, "missed")


@pytest.mark.parametrize("format_name", ["dota", "geojson", "labelme"])
def test_a_label_file_is_laid_over(visit: Any, tmp_path: Path, format_name: str) -> None:
    content, record = scenes()["coast"]
    datasets.write(format_name, [record], tmp_path, None, synthetic.CLASS_NAMES)
    (path,) = (path for path in tmp_path.rglob("coast.*") if path.is_file())
    page = visit("?a=retinanet")
    drop(page, ("coast.png", content), (path.name, path.read_bytes()))
    detected(page, "A")
    assert f"{len(record.boxes)} objects from {path.name}" in page.locator("#truth-name").inner_text()
    assert count_of(page, f"{SHOWN}[data-layer=truth]") == len(record.boxes)
    assert page.locator("#scores").is_visible()
    # Another one replaces it.
    drop(page, ("other.txt", b"1 1 9 1 9 9 1 9 ship 0\n"))
    page.locator("#truth-name", has_text="1 object from other.txt").wait_for()
    assert count_of(page, f"{SHOWN}[data-layer=truth]") == 1


def test_two_detectors_are_laid_over_swiped_and_put_side_by_side(both: Any, shoot: Any) -> None:
    assert count_of(both, "#stage .pane:not([hidden])") == 1
    both.locator("#colour-by").select_option("detector")
    assert set(both.locator(f"{SHOWN}[data-layer=B]").evaluate_all("(all) => all.map((one) => one.classList[2])")) == {
        "dashed"
    }
    shoot(both, "overlay")

    both.locator("#modes").get_by_label("Swipe").check()
    edge = both.locator("#swipe")
    assert edge.is_visible()
    clips = "(all) => all.map((one) => one.style.clipPath.match(/[\\d.]+%/g).map(parseFloat))"
    assert both.locator("#stage .boxes").evaluate_all(clips) == [[50, 0], [0, 50]]
    stage = both.locator("#stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    both.mouse.move(x, y)
    both.mouse.down()
    both.mouse.move(x - stage["width"] / 4, y, steps=4)
    both.mouse.up()
    assert 20 <= float(edge.input_value()) <= 30
    shoot(both, "swipe")
    edge.focus()
    both.keyboard.press("End")
    assert both.locator("#stage .boxes").evaluate_all(clips) == [[0], [0, 100]]

    both.locator("#modes").get_by_label("Side by side").check()
    assert count_of(both, "#stage .pane:not([hidden])") == 2
    panes = both.locator("#stage .pane").all()
    assert [pane.locator(".caption").inner_text() for pane in panes] == ["A · florence", "B · retinanet"]
    assert [count_of(pane.page, f"#stage .pane >> nth={i} >> .box.shown[data-layer={slot}]") > 0
            for i, (pane, slot) in enumerate(zip(panes, "AB", strict=True))] == [True, True]  # fmt: skip
    shoot(both, "side")
    both.locator("#zoom-in").click()
    both.evaluate("() => new Promise(requestAnimationFrame)")
    transforms = both.locator("#stage .boxes > g").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('transform'))"
    )
    assert len(transforms) == 2
    assert len(set(transforms)) == 1
    # A drag from one pane into the other moves both by as much as the mouse.
    both.mouse.move(x - 100, y)
    both.mouse.down()
    both.mouse.move(x + 60, y + 10, steps=8)
    both.mouse.up()
    both.evaluate("() => new Promise(requestAnimationFrame)")
    moved = both.locator("#stage .boxes > g").evaluate_all("(all) => all.map((one) => one.getAttribute('transform'))")
    before, after = ([float(number) for number in text[7:-1].split()] for text in (transforms[0], moved[0]))
    assert np.subtract(after, before)[4:] == pytest.approx([160, 10], abs=0.01)
    assert len(set(moved)) == 1


def test_the_wheel_the_mouse_and_fingers_pan_and_zoom(both: Any) -> None:
    def view() -> tuple[float, float, float]:
        both.evaluate("() => new Promise(requestAnimationFrame)")
        matrix = both.locator("#stage .boxes > g").first.get_attribute("transform")
        scale, _, _, _, x, y = map(float, re.findall(r"-?[\d.]+(?:e-?\d+)?", matrix))
        return scale, x, y

    stage = both.locator("#stage").bounding_box()
    x, y = round(stage["x"]) + 300, round(stage["y"]) + 200
    u, v = x - stage["x"], y - stage["y"]  # in the pane
    scale, left, top = view()
    both.mouse.move(x, y)
    both.mouse.wheel(0, -400)
    closer, left2, top2 = view()
    assert closer > 1.5 * scale
    # What is under the pointer stays there.
    assert [(u - left2) / closer, (v - top2) / closer] == pytest.approx([(u - left) / scale, (v - top) / scale])
    both.mouse.down()
    both.mouse.move(x - 40, y - 30, steps=5)
    both.mouse.up()
    assert view() == pytest.approx((closer, left2 - 40, top2 - 30))
    assert count_of(both, "#stage .box[data-selected]") == 0  # a drag is no click
    both.locator("#zoom-fit").click()
    assert view() == pytest.approx((scale, left, top))
    # Two fingers, 100 px apart, then 200 px.
    script = """([x, y]) => {
        const stage = document.getElementById("stage");
        stage.setPointerCapture = () => {};  // these pointers are not real
        const send = (kind, id, at) => stage.dispatchEvent(new PointerEvent(kind, {
            pointerId: id, pointerType: "touch", clientX: at, clientY: y, bubbles: true, button: 0 }));
        send("pointerdown", 1, x - 50); send("pointerdown", 2, x + 50);
        for (let step = 1; step <= 10; step++) {
            send("pointermove", 1, x - 50 - 5 * step); send("pointermove", 2, x + 50 + 5 * step);
        }
        send("pointerup", 1, x - 100); send("pointerup", 2, x + 100);
    }"""
    both.evaluate(script, [x, y])
    assert view()[0] == pytest.approx(2 * scale, rel=0.1)


def test_everything_is_reached_by_keyboard(visit: Any, server: Any) -> None:
    page = visit()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector} by Tab")

    tab_to(".scene")
    page.keyboard.press("Enter")
    detected(page, "A")
    tab_to("#model-B")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    detected(page, "B")
    tab_to("#threshold-B")
    before = count_of(page, SHOWN)
    page.keyboard.press("End")
    assert count_of(page, SHOWN) < before
    page.keyboard.press("Home")
    tab_to("#class-list input")
    page.keyboard.press("Space")
    assert count_of(page, f"{ROWS}[data-key^=A]") < 7
    page.keyboard.press("Space")
    tab_to("#results")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    active = page.locator("#results").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    assert "at " in page.locator(f"#{active}").get_attribute("aria-label")
    level = page.locator("#zoom-level").inner_text()
    page.keyboard.press("Enter")
    assert page.locator("#zoom-level").inner_text() != level
    page.keyboard.press("Escape")
    assert count_of(page, "#results [aria-selected=true]") == 0
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "stage":
            break
    page.keyboard.press("0")
    assert page.locator("#zoom-level").inner_text() == level
    transform = "document.querySelector('#stage .boxes > g').getAttribute('transform')"
    page.keyboard.press("+")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    zoomed = page.evaluate(transform)
    page.keyboard.press("ArrowRight")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.evaluate(transform) != zoomed
    tab_to("#modes input")
    page.keyboard.press("ArrowRight")
    assert page.locator("#swipe").is_visible()
    with page.expect_download() as download:
        tab_to("#download-list button")
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "harbour-florence.jsonl"


def test_downloads_hold_what_is_shown(both: Any, server: Any, tmp_path: Path) -> None:
    set_threshold(both, "B", 0.4)
    both.locator("#class-list label", has_text="small-vehicle").click()

    for model in ("florence", "retinanet"):
        answer = server.detectors[model].found("harbour", 640, 640)
        record = answer["record"]
        scores = record["scores"] or [None] * len(record["boxes"])
        kept = [
            i
            for i, (score, name) in enumerate(zip(scores, answer["names"], strict=True))
            if (score is None or score >= 0.4) and name != "small-vehicle"
        ]
        assert 0 < len(kept) < len(scores)
        boxes, names = np.array(record["boxes"])[kept], np.array(answer["names"])[kept]

        found = predictions.read(fetch(both, f"predictions.jsonl of {model}", tmp_path))
        assert found.header.fingerprint == f"fake:{model}"
        (read,) = found
        assert (read.image_id, read.width, read.height) == ("harbour", 640, 640)
        np.testing.assert_array_equal(read.boxes, boxes)
        assert [found.class_names[label] for label in read.labels] == names.tolist()
        if record["scores"]:
            np.testing.assert_array_equal(read.scores, np.array(scores)[kept])
        else:
            assert read.scores is None
            assert read.metadata["windows"][0]["text"] == answer["text"]

        layer = fetch(both, f"GeoJSON of {model}", tmp_path / f"geojson-{model}")
        dota = fetch(both, f"DOTA text of {model}", tmp_path / f"dota-{model}/labelTxt")
        for name, path in (("geojson", layer.parent), ("dota", dota.parent.parent)):
            data = datasets.read(name, path, None, synthetic.CLASS_NAMES)
            (read,) = data
            np.testing.assert_allclose(box_iou_rotated(read.boxes, boxes, aligned=True), 1, atol=1e-9)
            assert [data.class_names[label] for label in read.labels] == names.tolist()
        assert json.loads(layer.read_text())["width"] == 640

    with Image.open(fetch(both, "PNG with boxes", tmp_path)) as picture:
        assert picture.size == (640, 640)
        drawn = np.asarray(picture.convert("RGB")).astype(int)
    with Image.open(io.BytesIO(scenes()["harbour"][0])) as scene:
        plain = np.asarray(scene.convert("RGB")).astype(int)
    changed = (np.abs(drawn - plain).max(axis=-1) > 8).mean()
    assert 0.01 < changed < 0.5


def test_boxes_come_as_they_are_written_and_can_be_stopped(visit: Any, server: Any) -> None:
    server.pause = 0.25
    page = visit("?scene=harbour")
    page.locator("#run-A", has_text="so far").wait_for()
    page.locator(f"{SHOWN}[data-layer=A]").nth(1).wait_for()
    assert page.locator("#answers mark").count() >= 2
    assert count_of(page, f"{SHOWN}[data-layer=A]") < 7
    page.locator("#cancel").click()
    assert page.locator("#run-A").inner_text() == "Stopped."
    assert count_of(page, f"{SHOWN}[data-layer=A]") == 0
    for _ in range(40):
        if "cancelled" in server.requests:
            break
        page.wait_for_timeout(100)
    assert "cancelled" in server.requests
    server.pause = 0
    page.locator("#detect").click()
    detected(page, "A")
    assert count_of(page, f"{SHOWN}[data-layer=A]") == 7


def test_only_the_last_image_is_shown(visit: Any, server: Any) -> None:
    server.pause = 0.5
    page = visit("?a=retinanet")
    drop(page, ("first.png", png(200, 200)))
    page.locator("#image-name", has_text="first.png").wait_for()
    drop(page, ("second.png", png(400, 300)))
    page.locator("#image-name", has_text="second.png").wait_for()
    detected(page, "A")
    set_threshold(page, "A", 0)
    page.wait_for_timeout(800)  # the first answer is there by now
    points = page.locator(SHOWN).evaluate_all("(all) => all.map((one) => one.getAttribute('points').split(' ')[0])")
    expected = rbox_to_quad(server.detectors["retinanet"].found("second", 400, 300)["record"]["boxes"])
    assert sorted(float(point.split(",")[0]) for point in points) == pytest.approx(sorted(expected[:, 0, 0].tolist()))


def test_windows_are_asked_for(visit: Any, server: Any) -> None:
    page = visit("?a=retinanet")
    page.locator("summary").click()
    page.locator("#window").fill("512")
    page.locator("#gap").fill("64")
    drop(page, ("a.png", png()))
    detected(page, "A")
    assert server.requests[-1] == "POST /v1/models/retinanet/detect?format=json&window=512&gap=64"


BROKEN = {
    "no image": ([("notes.png", b"not an image")], "This browser cannot read notes.png as an image."),
    "half an image": ([("half.png", png()[:60])], "This browser cannot read half.png as an image."),
    "labels alone": ([("a.txt", b"")], "A label file needs its image."),
    "two images": ([("a.png", png()), ("b.png", png())], "Expected one image, got 2."),
    "broken labels": ([("a.png", png()), ("a.txt", b"1 2 3")], "a.txt, line 1: expected 8 coordinates"),
    "broken TIFF": ([("a.tif", b"II*\0" + bytes(20))], "expected a whole image, got a broken one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_a_reason(visit: Any, shoot: Any, case: str) -> None:
    files, message = BROKEN[case]
    page = visit("?a=retinanet")
    drop(page, *files)
    problem = page.locator("#problems .problem", has_text=message)
    problem.wait_for()
    page.complaints[:] = [line for line in page.complaints if "400" not in line]  # the server's refusal
    shoot(page, f"broken-{case.replace(' ', '-')}")
    problem.get_by_label("Dismiss").click()
    problem.wait_for(state="detached")
    # The next file is read as if nothing had been.
    drop(page, ("good.png", png()))
    detected(page, "A")
    assert page.locator("#problems .problem").count() == 0


def tiff(width: int = 300, height: int = 200) -> bytes:
    """An image whose left half is red and whose right half is blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0], pixels[:, width // 2 :, 2] = 200, 100
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", compression="tiff_deflate")
    return buffer.getvalue()


def wait_for_tiff(page: Any) -> None:
    """Wait until the image is drawn, red a little to the left of the middle of the view and blue to the right."""
    for _ in range(150):
        seen = page.locator("#stage canvas").first.evaluate("""(canvas) => [-20, 20].map((off) =>
            [...canvas.getContext("2d").getImageData(canvas.width / 2 + off, canvas.height / 2, 1, 1).data])""")
        if seen == [[200, 0, 0, 255], [0, 0, 100, 255]]:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"not drawn: {seen}")


def test_a_tiff_is_shown_by_the_servers_picture_of_it(visit: Any, server: Any, shoot: Any, tmp_path: Path) -> None:
    page = visit("?a=retinanet")
    drop(page, ("map.tif", tiff()))
    detected(page, "A")
    set_threshold(page, "A", 0)
    assert count_of(page, SHOWN) == 4
    assert page.locator("#problems .problem").count() == 0
    assert "300 × 200" in page.locator("#image-name").inner_text()
    wait_for_tiff(page)
    shoot(page, "tiff")
    assert [line for line in server.requests if line.startswith("POST")] == [
        "POST /v1/pictures",
        "POST /v1/models/retinanet/detect?format=json",
    ]
    # Its GeoJSON is in map coordinates, as our own writer has them.
    found = fetch(page, "GeoJSON of retinanet", tmp_path)
    answer = server.detectors["retinanet"].found("map", 300, 200)
    values = {name: answer["record"][name] for name in ("image_id", "boxes", "labels", "scores", "width", "height")}
    place = geojson.Placement(*ON_THE_MAP["transform"], ON_THE_MAP["crs"])
    expected = geojson.collection(ImageRecord(**values), ClassNames(answer["header"]["class_names"]), place)
    written = json.loads(found.read_text())
    rings = [[each["geometry"]["coordinates"] for each in data["features"]] for data in (written, expected)]
    np.testing.assert_allclose(np.array(rings[0]), np.array(rings[1]), rtol=0, atol=1e-6)
    assert written["crs"] == expected["crs"]
    # The picture with boxes is of the image's size, and shows it.
    with Image.open(fetch(page, "PNG with boxes", tmp_path)) as drawn:
        assert drawn.size == (300, 200)
        assert (drawn.getpixel((2, 2))[:3], drawn.getpixel((297, 2))[:3]) == ((200, 0, 0), (0, 0, 100))


def test_a_smaller_picture_of_a_large_tiff_lies_under_its_boxes(visit: Any, shoot: Any) -> None:
    page = visit("?a=retinanet", height=600)
    drop(page, ("large.tif", tiff(2600, 1600)))
    detected(page, "A")
    assert "2600 × 1600" in page.locator("#image-name").inner_text()
    wait_for_tiff(page)
    page.locator("#stage").focus()
    page.keyboard.press("1")  # closer than the picture is: tiles are cut from it, in pixels of the image
    page.locator("#zoom-level", has_text="100 %").wait_for()
    wait_for_tiff(page)
    shoot(page, "tiff-large")


def test_a_picture_that_the_server_cannot_make_is_said(visit: Any, server: Any) -> None:
    page = visit("?a=retinanet")
    page.route(
        "**/v1/pictures", lambda route: route.fulfill(status=413, json={"error": {"message": "too many", "remedy": ""}})
    )
    drop(page, ("map.tif", tiff()))
    page.locator("#problems", has_text="too many").wait_for()
    assert not [line for line in server.requests if line.startswith("POST")]
    page.complaints.clear()


def test_labels_of_another_image_are_doubted(visit: Any) -> None:
    page = visit("?a=retinanet")
    drop(page, ("a.png", png()), ("a.txt", b"9000 9000 9010 9000 9010 9010 9000 9010 ship 0\n"))
    page.locator("#problems", has_text="None of them lies on this image").wait_for()


@pytest.mark.parametrize("width", [390, 820])
def test_it_fits_small_screens(visit: Any, shoot: Any, width: int) -> None:
    page = visit("?scene=harbour&b=retinanet", width=width, height=844, device_scale_factor=2, has_touch=True)
    detected(page, "A", "B")
    shoot(page, f"width-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    stage = page.locator("#stage").bounding_box()
    assert stage["width"] > 0.5 * width
    assert stage["height"] > 300
    for button in page.locator("button:visible, select:visible").all():
        box = button.bounding_box()
        assert min(box["height"], box["width"]) >= 28
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.locator("#download-picture").scroll_into_view_if_needed()
    shoot(page, f"width-{width}-end")


def test_it_follows_the_system_into_the_dark(visit: Any, shoot: Any) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page = visit("?scene=terminal&b=retinanet", color_scheme=scheme)
        detected(page, "A", "B")
        shoot(page, f"{scheme}")
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, re.findall(r"\d+", ground))) for ground in grounds)
    assert light > 600
    assert dark < 150


def test_markup_in_foreign_text_stays_text(visit: Any, server: Any, shoot: Any) -> None:
    evil = "<img src=x onerror=alert(1)>"
    server.detectors["bad"] = Detector("bad", writes_text=True, seed=1, class_names=[evil, "<script>alert(2)</script>"])
    server.detectors[f"<b>{evil}"] = Detector(f"<b>{evil}", writes_text=False, seed=1)
    page = visit("?a=bad")
    page.on("dialog", lambda dialog: page.complaints.append(f"dialog {dialog.message}"))
    name = "<img src=x onerror=alert(3)>.png"
    labels = json.dumps({"shapes": [{"label": "<svg onload=alert(4)>", "points": [[1, 1], [9, 1], [9, 9]]}]})
    drop(page, (name, png()), ("<i>labels.json", labels.encode()))
    detected(page, "A")
    page.locator(ROWS).first.click()
    page.locator("#stage .label", has_text="<").wait_for()
    shoot(page, "markup")
    assert page.locator("img[src=x], #results script, #answers script, b, i, svg[onload]").count() == 0
    assert evil in page.locator("#results").inner_text()
    assert evil in page.locator("#answers").inner_text()
    assert name in page.locator("#image-name").inner_text()
    drop(page, ("<u>.txt", b"<s>1 2 3"))
    page.locator("#problems", has_text="<u>.txt, line 1").wait_for()
    assert page.locator("#problems u, #problems s").count() == 0


def test_the_policy_refuses_markup_scripts_and_other_servers(visit: Any) -> None:
    page = visit()
    refused = page.evaluate("""async () => {
        const refused = [];
        try { document.body.innerHTML = "<p>"; } catch { refused.push("markup"); }
        const script = document.createElement("script");
        script.append("window.ran = true");
        document.body.append(script);
        if (!window.ran) refused.push("script");
        await fetch("http://127.0.0.2:9/").catch(() => refused.push("fetch"));
        return refused;
    }""")
    assert refused == ["markup", "script", "fetch"]
    page.complaints.clear()


def test_nothing_is_fetched_from_elsewhere(visit: Any, server: Any) -> None:
    page = visit()
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{server.url}?scene=harbour&b=retinanet")
    detected(page, "A", "B")
    assert len(addresses) > 20
    assert {url.split("/")[2] for url in addresses if not url.startswith("blob:")} == {server.url.split("/")[2]}


def test_a_server_that_is_gone_or_refuses_is_said(visit: Any, server: Any) -> None:
    page = visit("?a=retinanet")
    del server.detectors["retinanet"]
    drop(page, ("a.png", png()))
    page.locator("#problems", has_text="no such model GET /v1/models lists them.").wait_for()
    assert page.locator("#run-A").inner_text() == "Stopped."
    page.route("**/v1/models/**", lambda route: route.abort())
    page.locator("#detect").click()
    page.locator("#problems", has_text="the server does not answer").wait_for()
    page.complaints.clear()


def test_a_stream_that_breaks_or_fails_is_said(visit: Any) -> None:
    page = visit()
    begin = 'event: start\ndata: {"windows": [[0, 0, 9]]}\n\n'
    error = 'event: error\ndata: {"error": {"message": "out of memory", "remedy": "Smaller windows."}}\n\n'
    bodies = [begin, begin + error]
    page.route("**/detect?**", lambda route: route.fulfill(body=bodies.pop(0), content_type="text/event-stream"))
    drop(page, ("a.png", png()))
    page.locator("#problems", has_text="ended before it was complete").wait_for()
    page.locator("#detect").click()
    page.locator("#problems", has_text="out of memory Smaller windows.").wait_for()


@pytest.fixture(scope="module")
def large_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 10,000 pixels a side whose every pixel of a stripe says where it is."""
    side = 10_000
    x = np.arange(side, dtype=np.uint16)
    image = np.empty((side, side, 3), np.uint8)
    image[..., 0] = (x >> 6)[None, :]
    image[..., 1] = (x >> 6)[:, None]
    image[..., 2] = ((x[None, :] ^ x[:, None]) & 1) * 200  # a chessboard: gone where it is not at full resolution
    path = tmp_path_factory.mktemp("large") / "many.png"
    Image.fromarray(image).save(path, compress_level=1)
    return path


def test_a_large_scene_is_shown_in_tiles(visit: Any, shoot: Any, large_scene: Path) -> None:
    page = visit("?a=retinanet")
    page.set_default_timeout(90_000)
    page.locator("#files").set_input_files(large_scene)
    detected(page, "A")
    set_threshold(page, "A", 0)
    assert count_of(page, SHOWN) == 5000
    shoot(page, "large-whole")
    # The list has few of its rows as elements, and scrolls to the rest.
    assert 10 < count_of(page, ROWS) < 60
    page.locator("#results").focus()
    page.keyboard.press("End")
    last = page.locator("#results [aria-selected=true]")
    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize") == "5000"
    assert last.evaluate("(row) => row.id === row.closest('[role=listbox]').getAttribute('aria-activedescendant')")
    # The whole image is one drawing of an overview; the canvas is no larger than the screen.
    assert page.locator("#stage canvas").first.evaluate("(canvas) => canvas.width") < 1280
    page.locator("#stage").focus()
    page.keyboard.press("1")
    assert page.locator("#zoom-level").inner_text() == "100 %"
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    assert 0 < count_of(page, SHOWN) < 1000  # boxes far out of view are no elements
    read = """(canvas) => {
        const data = canvas.getContext("2d").getImageData(100, 100, 12, 12).data;
        const transform = document.querySelector("#stage .boxes > g").transform.baseVal[0].matrix;
        return { pixels: [...data], x: 100 - transform.e, y: 100 - transform.f };
    }"""
    for _ in range(100):
        seen = page.locator("#stage canvas").first.evaluate(read)
        pixels = np.array(seen["pixels"]).reshape(12, 12, 4)
        if {0, 200} <= set(pixels[..., 2].ravel().tolist()):
            break
        page.wait_for_timeout(100)
    shoot(page, "large-close")
    assert {0, 200} <= set(pixels[..., 2].ravel().tolist())  # single pixels are seen
    assert abs(int(pixels[0, 0, 0]) - (int(seen["x"]) >> 6)) <= 1
    assert abs(int(pixels[0, 0, 1]) - (int(seen["y"]) >> 6)) <= 1


def test_a_scene_says_its_truth_and_names(visit: Any, server: Any) -> None:
    page = visit()
    assert page.locator(".scene").all_inner_texts() == list(scenes())
    page.locator(".scene", has_text="coast").click()
    detected(page, "A")
    assert truth_of(scenes()["coast"][1]).count("\n") - 2 == count_of(page, f"{SHOWN}[data-layer=truth]")


def test_class_names_of_two_detectors_are_joined(visit: Any, server: Any) -> None:
    names = ClassNames(["Small Vehicle", "ship", "plane", "storage_tank"])
    server.detectors["other"] = Detector("other", writes_text=False, seed=1, class_names=list(names))
    page = visit("?scene=harbour&b=other")
    detected(page, "A", "B")
    assert len(page.locator("#class-list label").all()) == len(set(page.locator("#class-list .grow").all_inner_texts()))
    assert len(page.locator("#class-list label").all()) <= len(synthetic.CLASS_NAMES)


def test_a_model_that_is_being_loaded_is_waited_for(visit: Any, server: Any) -> None:
    server.detectors["florence"].ready = False
    page = visit("?scene=coast")
    page.locator("#run-A", has_text="Detecting").wait_for()
    assert page.locator("#model-A option").nth(1).inner_text() == "florence (lmm-detector, loading)"
    assert not [line for line in server.requests if line.startswith("POST")]
    server.detectors["florence"].ready = True
    detected(page, "A")
    assert page.locator("#model-A option").nth(1).inner_text() == "florence (lmm-detector)"
    assert page.locator("#answers mark").count() > 0


def test_a_server_that_ends_while_it_loads_is_said(visit: Any, server: Any) -> None:
    server.detectors["florence"].ready = False
    page = visit("?scene=coast")
    page.locator("#run-A", has_text="Detecting").wait_for()
    page.route("**/v1/models", lambda route: route.abort())
    page.locator("#problems", has_text="the server does not answer").wait_for()
    assert page.locator("#run-A").inner_text() == "Stopped."
    page.complaints[:] = [line for line in page.complaints if "ERR_FAILED" not in line]


def test_the_servers_key_is_asked_for(visit: Any, server: Any, shoot: Any) -> None:
    server.key = "open sesame"
    page = visit()
    page.locator("#problems", has_text="The server asks for its key.").wait_for()
    shoot(page, "key")
    page.locator("#key").fill("wrong")
    page.keyboard.press("Enter")
    page.locator("#problems", has_text="does not take this key").wait_for()
    page.locator("#key").fill("open sesame")
    page.keyboard.press("Enter")
    page.locator(".scene img").first.wait_for()
    page.locator(".scene", has_text="coast").click()
    detected(page, "A")
    assert page.locator("#key-form").is_hidden()
    page.reload()  # the tab remembers
    page.locator(".scene img").first.wait_for()
    page.complaints[:] = [line for line in page.complaints if "401" not in line]


def test_a_server_of_two_detectors_compares_them(visit: Any, server: Any) -> None:
    page = visit()
    page.goto(f"{server.url}?scene=coast")
    detected(page, "A", "B")
    assert [page.locator(f"#model-{slot}").input_value() for slot in "AB"] == ["florence", "retinanet"]
    server.detectors["third"] = Detector("third", writes_text=False, seed=3)
    page.reload()
    detected(page, "A")
    assert page.locator("#model-B").input_value() == ""
