"""A browser on the page: Debian's Chromium, driven by Playwright. `hatch run test-page` installs both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Where screenshots go; git ignores it.
SHOTS = Path(os.environ.get("RBOX_PAGE_SHOTS", HERE.parents[3] / "runs" / "page-shots"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a browser are slow."""
    for item in items:
        if HERE in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: hatch run test-page brings it")
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    # As root there is no sandbox to be had; without a GPU the canvas is drawn by the processor.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[Any]:
    from rbox_testing.fake_server import serve

    fake, server = serve()
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser: Any, server: Any) -> Iterator[Callable[..., Any]]:
    """Open the page: `visit(address="", width=1280, ...)`; what the browser's console complains of fails the test."""
    contexts, complaints = [], []

    def open_page(address: str = "", *, width: int = 1280, height: int = 800, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints
        # With one detector, unless a test names the second one.
        page.goto(server.url + address + ("" if "b=" in address else "&b=" if address else "?b="))
        if not server.key:
            page.locator("#model-A option").nth(1).wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def shoot() -> Callable[[Any, str], Path]:
    """Keep a screenshot: `shoot(page, "name")`."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def take(page: Any, name: str) -> Path:
        path = SHOTS / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take
