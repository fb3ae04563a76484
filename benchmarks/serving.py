"""Requests a second, latency and memory of a server, beside a plain FastAPI handler and LitServe, in one run.

All three serve the same detector, each in a process of its own, on loopback:

- `rbox-serve run`;
- a handler of FastAPI that detects on one image at a time (`detector.predict`, under a lock);
- LitServe, with batches of as many images and about as long a wait (skipped where it is not installed).

Clients send small pictures, each the next one as soon as its answer is there. The servers take turns: one has all
clients for `--seconds`, then the next, for `--rounds` rounds. Each server's answers are compared with the others'. Then
more clients than rbox-serve takes are sent to it, and what each was answered is counted. `--memory SECONDS` watches
the memory of rbox-serve under 8 clients for that long.

    python benchmarks/serving.py
    python benchmarks/serving.py --model runs/retinanet/epoch_12.pth --clients 1 --clients 8 --seconds 30
    python benchmarks/serving.py --memory 600
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import psutil
from PIL import Image
from rbox_formats import synthetic

FIRST = 50_000_000  # the seed of the first picture; no detector here has seen it
READY = 180  # seconds in which a server has to be ready
TIMEOUT = 120.0

PLAIN = """
import io, sys, threading
import numpy as np, uvicorn
from fastapi import FastAPI, UploadFile
from rbox_formats import images, load_detector

model, port, device = sys.argv[1:4]
detector, lock, app = load_detector(model, device=device), threading.Lock(), FastAPI()
from PIL import Image

@app.get("/ready")
def ready(): return {}

@app.post("/detect")
def detect(image: UploadFile):
    pixels = images.as_rgb(Image.open(io.BytesIO(image.file.read())))
    with lock:
        return detector.predict(pixels).to_dict()

uvicorn.run(app, port=int(port), log_level="warning")
"""

LITSERVE = """
import io, sys
import litserve
from PIL import Image
from fastapi import UploadFile
from rbox_formats import images, load_detector

model, port, device, size, wait = sys.argv[1:6]

class API(litserve.LitAPI):
    def setup(self, _): self.detector = load_detector(model, device=device)
    def decode_request(self, request: UploadFile): return images.as_rgb(Image.open(io.BytesIO(request.file.read())))
    def batch(self, inputs): return inputs
    def predict(self, batch): return list(self.detector.predict(batch, batch_size=int(size)))
    def unbatch(self, output): return output
    def encode_response(self, found): return found.to_dict()

if __name__ == "__main__":
    api = API(max_batch_size=int(size), batch_timeout=float(wait), api_path="/detect")
    server = litserve.LitServer(api, accelerator="cpu" if device == "cpu" else "auto", timeout=120)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")
"""


@dataclass
class Server:
    """A server under test.

    Attributes:
        name: What it is called in the tables.
        process: Its process.
        address: Where it detects.
        records: The place of the record in its answers.
    """

    name: str
    process: subprocess.Popen
    address: str
    records: str | None = None

    @property
    def memory(self) -> float:
        """Its memory with that of its children, MiB."""
        own = psutil.Process(self.process.pid)
        sizes = []
        for each in [own, *own.children(recursive=True)]:
            try:
                sizes.append(each.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        return sum(sizes) / 2**20


@dataclass
class Load:
    """What clients saw.

    Attributes:
        seconds: How long they asked.
        latencies: Of the answers with boxes, in seconds.
        statuses: How many answers there were of each status; 0: none.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, other: Load) -> None:
        """Count another round."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.statuses += other.statuses


def pictures(count: int) -> list[bytes]:
    """Return small pictures as PNG."""
    found = []
    for seed in range(FIRST, FIRST + count):
        buffer = BytesIO()
        Image.fromarray(synthetic.scene(seed, synthetic.VARIED)[0]).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


@contextmanager
def running(name: str, words: list[str], address: str, ready: str, records: str | None = None) -> Iterator[Server]:
    """Run a server until the end of the block, once it is ready."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        begin = time.monotonic()
        while True:
            try:
                if httpx2.get(ready, timeout=5).status_code == 200:
                    break
            except httpx2.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() - begin > READY:
                raise RuntimeError(f"{name} did not become ready: {' '.join(words)}")
            time.sleep(0.2)
        yield Server(name, process, address, records)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        for child in children:  # LitServe's workers
            if child.is_running():
                child.kill()


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def rbox_serve(options: argparse.Namespace, *more: str) -> Any:
    port = free_port()
    words = [sys.executable, "-m", "rbox_serve", "run", "--model", f"m={options.model}", "--port", str(port)]
    words += ["--device", options.device, "--batch-size", str(options.batch_size)]
    base = f"http://127.0.0.1:{port}"
    return running("rbox-serve", [*words, *more], f"{base}/v1/models/m/detect", f"{base}/ready", "record")


def plain(options: argparse.Namespace) -> Any:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-c", PLAIN, options.model, str(port), options.device]
    return running("a plain handler", words, f"{base}/detect", f"{base}/ready")


def litserve(options: argparse.Namespace, folder: str) -> Any:
    port = free_port()
    script = os.path.join(folder, "litserve_server.py")  # noqa: PTH118  # its workers import it by its path
    with open(script, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(LITSERVE)
    base = f"http://127.0.0.1:{port}"
    words = [sys.executable, script, options.model, str(port), options.device]
    words += [str(options.batch_size), str(options.wait / 1000)]
    return running("LitServe", words, f"{base}/detect", f"{base}/health")


FIELDS = {"LitServe": "request"}


async def load(server: Server, contents: list[bytes], clients: int, seconds: float) -> Load:
    """Have clients ask for some time, each the next picture when it has its answer."""
    found = Load()
    field_name = FIELDS.get(server.name, "image")
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(timeout=TIMEOUT, limits=limits) as client:
        begin = time.perf_counter()

        async def ask(number: int) -> None:
            place = number
            while time.perf_counter() - begin < seconds:
                start = time.perf_counter()
                files = {field_name: ("picture.png", contents[place % len(contents)], "image/png")}
                try:
                    status = (await client.post(server.address, files=files)).status_code
                except httpx2.HTTPError:
                    status = 0
                found.statuses[status] += 1
                if status == 200:
                    found.latencies.append(time.perf_counter() - start)
                elif status in (429, 503):
                    await asyncio.sleep(0.05)
                place += 1

        await asyncio.gather(*(ask(number) for number in range(clients)))
        found.seconds = time.perf_counter() - begin
    return found


def answers(server: Server, contents: list[bytes]) -> list[Any]:
    """Return the boxes that a server finds on each picture, one after the other."""
    found = []
    for content in contents:
        files = {FIELDS.get(server.name, "image"): ("picture.png", content, "image/png")}
        answer = httpx2.post(server.address, files=files, timeout=TIMEOUT)
        answer.raise_for_status()
        values = answer.json()
        record = values if server.records is None else values[server.records]
        found.append((record["labels"], np.array(record["boxes"]).reshape(-1, 5)))
    return found


def check_same(servers: list[Server], contents: list[bytes]) -> None:
    """Make sure that all servers find the same."""
    expected = answers(servers[0], contents)
    boxes = sum(len(labels) for labels, _ in expected)
    for server in servers[1:]:
        for (labels, found), (other_labels, other) in zip(expected, answers(server, contents), strict=True):
            assert labels == other_labels, server.name
            np.testing.assert_allclose(found, other, atol=1e-3)
    print(f"All servers find the same {boxes} boxes on {len(contents)} pictures.\n")


def row(server: Server, clients: int, seen: Load, base: float | None) -> str:
    cuts = statistics.quantiles(seen.latencies, n=100, method="inclusive") if len(seen.latencies) > 1 else [0.0] * 99
    rate = len(seen.latencies) / seen.seconds
    times = " | ".join(f"{1000 * cuts[share - 1]:.0f}" for share in (50, 95, 99))
    others = ", ".join(f"{count} x {status}" for status, count in sorted(seen.statuses.items()) if status != 200)
    ratio = "" if base is None else f"{rate / base:.2f}"
    return f"| {clients} | {server.name} | {rate:.1f} | {ratio} | {times} | {server.memory:.0f} | {others or 'none'} |"


def compare(options: argparse.Namespace, servers: list[Server], contents: list[bytes]) -> None:
    """Print requests a second and latencies."""
    print("| clients | server | requests/s | of the plain handler | 50 %, ms | 95 % | 99 % | memory, MiB | errors |")
    print("|---|---|---|---|---|---|---|---|---|")
    for clients in options.clients:
        seen = {server.name: Load() for server in servers}
        for turn in range(options.rounds):
            order = servers[turn % len(servers) :] + servers[: turn % len(servers)]
            for server in order:
                asyncio.run(load(server, contents, clients, 1.0))  # warm
                seen[server.name].add(asyncio.run(load(server, contents, clients, options.seconds)))
        plainly = seen["a plain handler"]
        base = len(plainly.latencies) / plainly.seconds
        for server in servers:
            print(row(server, clients, seen[server.name], base), flush=True)


def overload(options: argparse.Namespace, contents: list[bytes]) -> None:
    """Print what many clients of a server that takes few are answered."""
    with rbox_serve(options, "--max-requests", "8") as server:
        seen = asyncio.run(load(server, contents, options.overload, options.seconds))
        text = httpx2.get(re.sub("/v1/.*", "/metrics", server.address)).text
    counted = {int(status): int(float(n)) for status, n in re.findall(r'requests_total{.*status="(\d+)"} (\S+)', text)}
    print(
        f"\n{options.overload} clients of a server that takes 8 requests: answers {dict(seen.statuses)}, as the server"
    )
    print(f"counted: {counted == dict(seen.statuses)}; without an answer: {seen.statuses[0]}.")


def memory(options: argparse.Namespace, contents: list[bytes]) -> None:
    """Print how much memory a server takes, minute by minute."""
    with rbox_serve(options) as server:
        begin = time.perf_counter()
        print(f"\n| after, s | requests | memory, MiB | (8 clients, {options.memory:g} s)\n|---|---|---|")
        total = 0
        while (passed := time.perf_counter() - begin) < options.memory:
            print(f"| {passed:.0f} | {total} | {server.memory:.0f} |", flush=True)
            seen = asyncio.run(load(server, contents, 8, min(60.0, options.memory - passed)))
            total += seen.statuses.total()
        print(f"| {time.perf_counter() - begin:.0f} | {total} | {server.memory:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clients", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each server in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--wait", type=float, default=30.0, help="of LitServe for a batch to fill, milliseconds")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--overload", type=int, default=64, help="clients; 0: leave that part out")
    parser.add_argument("--memory", type=float, default=0.0, help="seconds to watch the memory for; 0: not at all")
    options = parser.parse_args()
    options.clients = options.clients or [1, 8, 32]
    contents = pictures(options.pictures)
    from tempfile import TemporaryDirectory

    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        servers = [stack.enter_context(rbox_serve(options)), stack.enter_context(plain(options))]
        try:
            import litserve as _installed  # noqa: F401

            servers.append(stack.enter_context(litserve(options, folder)))
        except ImportError:
            print("LitServe is not installed, and not compared: pip install litserve\n")
        check_same(servers, contents[:8])
        compare(options, servers, contents)
    if options.overload:
        overload(options, contents)
    if options.memory:
        memory(options, contents)


if __name__ == "__main__":
    main()
