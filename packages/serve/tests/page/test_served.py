"""The page on the real server, with the small detector that comes with lmm-detector."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="rbox-serve is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where `rbox-serve run --demo` is."""
    command = [sys.executable, "-m", "rbox_serve", "run", "--demo", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if match := re.search(r"http://[\d.]+:\d+/", line):
                yield match[0]
                break
        else:
            pytest.fail(said)
        process.terminate()
        process.communicate(timeout=60)


def test_a_scene_of_the_demonstration(browser: Any, address: str, shoot: Any) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator(".scene", has_text="harbour").click()
    page.locator("#run-A", has_text="boxes in").wait_for()
    boxes = page.locator("#stage .box.shown[data-layer=A]")
    boxes.first.wait_for()
    assert boxes.count() == page.locator("#results .row[data-key^=A]:not([hidden])").count()
    assert page.locator("#answers mark").count() == boxes.count()
    assert page.locator("#score-table tbody tr").count() == 1
    page.locator("#results .row[data-key^=A]").first.click()
    page.locator("#answers mark[data-selected]").wait_for()
    shoot(page, "served")
    page.locator(".scene", has_text="region").click()
    page.locator("#image-name", has_text="region.png").wait_for()
    page.locator("#run-A", has_text="boxes in").wait_for()
    assert boxes.count() > 50
    assert page.locator("#answers figure").count() > 10
    shoot(page, "served-region")
    page.close()
    assert not complaints
