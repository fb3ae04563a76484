"""What axe finds wrong with the page, in each of its states, light, dark and on a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rbox_testing.fake_server import Detector

# Of those that axe knows, best practices included, the page breaks none.
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "width": 390, "height": 844},
}


@pytest.fixture
def check() -> Callable[[Any], None]:
    """Fail where axe finds something."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: hatch run test-page")

    def run(page: Any) -> None:
        found = axe.Axe().run(page).response["violations"]
        about = [(rule["id"], rule["impact"], [node["html"][:120] for node in rule["nodes"]]) for rule in found]
        assert not about, json.dumps(about, indent=2)

    return run


@pytest.mark.parametrize("look", LOOKS)
def test_the_empty_page(visit: Any, check: Any, look: str) -> None:
    check(visit(**LOOKS[look]))


@pytest.mark.parametrize("look", LOOKS)
def test_two_detectors_beside_the_truth(visit: Any, server: Any, check: Any, look: str) -> None:
    page = visit("?scene=harbour&b=retinanet", **LOOKS[look])
    for slot in "AB":
        page.locator(f"#run-{slot}", has_text="boxes in").wait_for()
    page.locator("#results .row:not([hidden])").first.click()
    page.locator("#results .row:not([hidden])").nth(1).hover()
    page.locator("summary").click()
    for mode in ("Overlay", "Swipe", "Side by side"):
        page.locator("#modes").get_by_label(mode).check()
        for colours in ("class", "detector", "outcome"):
            page.locator("#colour-by").select_option(colours)
        check(page)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_problems_and_boxes_without_scores(visit: Any, server: Any, check: Any, look: str) -> None:
    server.detectors["long"] = Detector("a-detector-with-a-name-that-is-long" * 3, writes_text=True, seed=1)
    page = visit("?scene=harbour", **LOOKS[look])
    page.locator("#run-A", has_text="boxes in").wait_for()
    page.locator("#files").set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"1 2 3"}])
    page.locator("#problems .problem").wait_for()
    check(page)


def test_what_is_drawn_is_said(visit: Any) -> None:
    """The list says in words what the image shows, and the status says what happens."""
    page = visit("?scene=harbour&b=retinanet")
    for slot in "AB":
        page.locator(f"#run-{slot}", has_text="boxes in").wait_for()
    rows = page.get_by_role("option", name="plane")
    assert rows.count() >= 4
    assert page.get_by_role("option", name="detector B").count() >= 4
    assert page.get_by_role("listbox", name="Detections").count() == 1
    assert page.get_by_role("option", name="missed").count() + page.get_by_role("option", name="false").count() > 0
    assert "found 7 boxes" in page.locator("#status").inner_text()
