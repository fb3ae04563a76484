"""How long the first report waits for the compiler: `rbox-metrics evaluate` with nothing on disk, by protocol.

    python benchmarks/first_report.py [--data FOLDER] [--protocols voc07 voc dota coco fair1m] [--kernels] [--rounds 1]

The protocols follow one another. Each is a process of its own, as for a newcomer, and finds on disk what those before
it compiled; the folder for that is empty at first and thrown away at the end. The dataset is one of DOTA's, with the
detections beside it in `Task1`; without `--data` a small one is drawn. Prints a markdown table: seconds of the clock
and of the CPU, from a process's start to its end, and the same once more, with everything on disk. With `--kernels`
another lists what was compiled, and the CPU seconds that numba's own event of it lasted, what is compiled within it
included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from _detections import draw
from rbox_formats import rbox_to_quad

PROTOCOLS = ("voc07", "voc", "dota", "coco", "fair1m")

# Runs the command, and writes what numba compiled to a file: only what Python calls, not what is called from within.
CODE = """
import atexit, json, sys, time
from numba.core import event

compiled, begun = [], []

class Listener(event.Listener):
    def on_start(self, found):
        begun.append(time.process_time())

    def on_end(self, found):
        seconds = time.process_time() - begun.pop()
        function = found.data["dispatcher"].py_func
        if not begun:
            compiled.append((function.__module__ + "." + function.__name__, str(found.data["args"]), seconds))

event.register("numba:compile", Listener())
out = sys.argv.pop(1)
atexit.register(lambda: open(out, "w").write(json.dumps(compiled)))

from rbox_metrics.cli.main import main
main(prog_name="rbox-metrics")
"""


@dataclass(frozen=True)
class Run:
    """One command: what it took, and what it compiled, as (function, signature, CPU seconds)."""

    wall: float
    cpu: float
    compiled: list[tuple[str, str, float]]


def command(data: Path, protocol: str, cache: Path) -> Run:
    out = cache / "compiled.json"
    options = ["--truth", data, "--predictions", data / "Task1", "--protocol", protocol]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache / "numba")}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", CODE, str(out), "evaluate", *map(str, options)],
        env=environment,
        check=True,
        capture_output=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, json.loads(out.read_text()))


def example(folder: Path) -> Path:
    """Return twenty images like DOTA's with 300 objects, and eight detections of each."""
    data, names = draw(images=20, truths=300), ("plane", "ship", "harbor")
    labels = folder / "labelTxt"
    labels.mkdir()
    task1 = folder / "Task1"
    task1.mkdir()
    for image in range(data.images):
        own = data.truth_images == image
        lines = [
            " ".join([*(f"{value:.1f}" for value in quad.ravel()), names[label % 3], "0"])
            for quad, label in zip(rbox_to_quad(data.truths[own]), data.truth_labels[own], strict=True)
        ]
        (labels / f"P{image:04}.txt").write_text("\n".join(lines) + "\n")
    quads = rbox_to_quad(data.boxes)
    for number, name in enumerate(names):
        own = np.flatnonzero(data.labels % 3 == number)
        lines = [
            " ".join([f"P{data.image_index[k]:04}", f"{data.scores[k]:.4f}", *(f"{v:.1f}" for v in quads[k].ravel())])
            for k in own
        ]
        (task1 / f"Task1_{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="DOTA's annotations, with the detections in its folder Task1")
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, choices=PROTOCOLS)
    parser.add_argument("--rounds", type=int, default=1, help="The least CPU seconds of these rounds count.")
    parser.add_argument("--kernels", action="store_true", help="lists each function that was compiled")
    options = parser.parse_args()
    rounds: list[dict[str, tuple[Run, Run]]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or example(Path(folder))
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as cache:
                first = {protocol: command(data, protocol, Path(cache)) for protocol in options.protocols}
                rounds.append({name: (run, command(data, name, Path(cache))) for name, run in first.items()})
    best = {name: min((found[name] for found in rounds), key=lambda pair: pair[0].cpu) for name in options.protocols}
    print(
        f"Python {platform.python_version()}, numba {numba.__version__}, numpy {np.__version__}, {os.cpu_count()} cores"
    )
    print(
        "\n| protocol | functions | signatures | wall | CPU | again: wall | CPU |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, (run, again) in best.items():
        functions = len({function for function, _, _ in run.compiled})
        print(
            f"| {name} | {functions} | {len(run.compiled)} | {run.wall:.1f} s | {run.cpu:.1f} s "
            f"| {again.wall:.1f} s | {again.cpu:.1f} s |"
        )
    if options.kernels:
        print("\n| protocol | function | CPU |\n|---|---|---:|")
        for name, (run, _) in best.items():
            for function, _, seconds in sorted(run.compiled, key=lambda row: -row[2]):
                print(f"| {name} | `{function.removeprefix('rbox_metrics.')}` | {seconds:.2f} s |")


if __name__ == "__main__":
    main()
