"""How soon rbox-serve's page shows boxes after the server's answer, and how fluid a large scene is.

python benchmarks/page.py

Needs Chromium and Playwright (`.ci/chromium`, `pip install playwright`). The server has nothing to compute, so that the
browser's work is measured alone: from the last byte of the answer to the frame that shows the boxes; then the frames
while the view is panned and zoomed.
"""

from __future__ import annotations

import argparse
import io
import shutil
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from rbox_testing.fake_server import serve

# In the page, from its start: when an answer is complete, and when a frame with its boxes has been painted.
_WATCH = """
    window.seen = new Promise((resolve) => {
        const look = () => {
            const shown = document.querySelectorAll("#stage .box.shown").length;
            const [answer] = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/detect?"));
            const done = () => resolve(performance.now() - answer.responseEnd);
            requestAnimationFrame(shown && answer ? () => setTimeout(done) : look);
        };
        requestAnimationFrame(look);
    });
"""

_SUM = "(all) => all.reduce((sum, one) => sum + Number(one.textContent), 0)"

# Each frame moves the view a bit, for two seconds; the times between frames, in milliseconds.
_MOVE = """async (kind) => {
    const stage = document.getElementById("stage");
    const { left, top, width, height } = stage.getBoundingClientRect();
    const [clientX, clientY] = [left + width / 2, top + height / 2];
    const times = [];
    let before = await new Promise(requestAnimationFrame);
    const begin = before;
    while (before < begin + 2000) {
        const step = Math.sin((before - begin) / 300);
        const send = (name, more) => stage.dispatchEvent(new WheelEvent(name, { clientX, clientY, ...more }));
        if (kind === "zoom") send("wheel", { deltaY: 60 * step });
        else stage.dispatchEvent(new KeyboardEvent("keydown", { key: step > 0 ? "ArrowLeft" : "ArrowRight" }));
        const now = await new Promise(requestAnimationFrame);
        times.push(now - before);
        before = now;
    }
    return times;
}"""


def _image(side: int) -> bytes:
    ramp = np.arange(side) % 251
    image = np.stack([np.add.outer(ramp, ramp) % 251] * 3, axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _measured(browser: Any, url: str, name: str, side: int, content: bytes, rounds: int) -> str:
    seconds, frames = [], {}
    for _ in range(rounds):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(_WATCH)
        page.goto(f"{url}?a=retinanet&b=")
        page.locator("#model-A option").nth(1).wait_for(state="attached")
        page.locator("#files").set_input_files([{"name": name, "mimeType": "image/jpeg", "buffer": content}])
        seconds.append(page.evaluate("window.seen"))
        page.locator("#stage").focus()
        page.keyboard.press("1")
        page.wait_for_timeout(1000)
        for kind in ("pan", "zoom"):
            frames.setdefault(kind, []).extend(page.evaluate(_MOVE, kind))
        boxes = int(page.locator("#class-list .numbers").evaluate_all(_SUM))
        page.close()
    cells = [f"{median(times):.0f}, {np.percentile(times, 95):.0f}" for times in frames.values()]
    return f"| {side:,} px, {boxes:,} boxes | {median(seconds):.0f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    fake, server = serve()
    print("| | answer to boxes, ms | between frames while panning, ms: median, 95 % | zooming |\n|---|---:|---:|---:|")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        for name, side in (("few.jpg", 1000), ("many.jpg", 1000), ("few.jpg", 10_000), ("many.jpg", 10_000)):
            print(_measured(browser, fake.url, name, side, _image(side), rounds), flush=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
