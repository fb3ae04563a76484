"""What an archive costs: hours from the measured parts of this machine, and what preemptions do to them.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/archive_cost.py --scenes 20000 --detect 0.05 --preemptions 1
    OMP_WAIT_POLICY=PASSIVE python benchmarks/archive_cost.py --check

The parts are measured with the detector and the drawn scenes of `sharding.py`, one thread for each process: to read,
decode and cut a window; to detect in it; to write a shard's part file; to join all parts; and to start, which is all
else that the command takes for one window. `--detect` gives the seconds of a window on a device of yours instead.

`--check` compares the estimate with a real run of the command on this machine. `--failures` compares the simulation
with a process that is killed (SIGKILL) again and again at drawn instants, and begun again at once; its detector sleeps.
Estimates of archives are in CPU seconds, so that other work on the cores does not count.

Prints markdown.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rbox_formats.sharding import Parts as PartFiles
from rbox_formats.sharding import Shard, detect_parts, shards
from rbox_testing.preemption import expected_seconds, lives, simulate
from rbox_testing.telling import HEADER, Failing, Telling, compute, scenes_of

HOUR = 3600
SIZES = (16, 64, 256, 1024, 4096)
BATCH = 4
PAUSE = 0.1


@dataclass(frozen=True)
class Parts:
    """Seconds of the parts of a run: of a window, but `write` of a shard and `start` of a process."""

    read: float
    detect: float
    write: float
    join: float
    start: float

    def window(self, *, overlapping: bool) -> float:
        """A window's: it is read while the one before is detected in, where there is a core for each of the two."""
        return max(self.read, self.detect) if overlapping else self.read + self.detect

    def shard(self, windows: int, *, overlapping: bool) -> float:
        """A shard's."""
        return windows * self.window(overlapping=overlapping) + self.write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--windows", type=int, default=196, help="of a scene")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--shard-windows", type=int, default=256)
    parser.add_argument("--preemptions", type=float, default=0.1, help="of a process, in an hour")
    parser.add_argument("--wait", type=float, default=120, help="seconds until a process is replaced")
    parser.add_argument("--detect", type=float, help="seconds of a window on your device")
    parser.add_argument("--side", type=int, default=256, help="of the measured windows, in pixels")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--count", type=int, default=2000, help="windows of the real run, at least")
    parser.add_argument("--life", type=float, default=15, help="seconds that a process lives, for --failures")
    parser.add_argument("--sleep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.sleep:
        sleep()
        return
    if options.failures:
        failures(options)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        parts, on_cpu = measure(folder, options.side, options.count)
        print(table_of(parts, on_cpu), flush=True)
        if options.check:
            check(folder, parts, on_cpu)
            return
        if options.detect is not None:
            on_cpu = replace(on_cpu, detect=options.detect)
        print(estimate(on_cpu, options))
        print(sizes(on_cpu, options))


def clock() -> np.ndarray:
    """The seconds, and the CPU seconds of this process and of those that it has run."""
    ran = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), time.process_time() + ran.ru_utime + ran.ru_stime])


def measure(folder: Path, side: int, count: int) -> tuple[Parts, Parts]:
    """Measure the parts, in seconds and in CPU seconds."""
    import torch
    from rbox_baselines import Detector
    from rbox_formats.predictions import Header
    from rbox_formats.sharding import (
        detect_shard,
        make_manifest,
        read_manifest,
        read_windows,
        records_of,
        write_manifest,
    )
    from sharding import prepare

    torch.set_num_threads(1)
    prepare(folder, count, side, 64)
    manifest = read_manifest(folder / "archive.jsonl")
    plan = manifest.plan(pad_whole=False)
    scene = next(iter(manifest.files.values()))
    # A whole scene, as a run reads it: a scene that is divided among shards is decoded once for each of them.
    first = plan[:4]
    begin = clock()
    windows = [list(read_windows(shard)) for shard in first]
    read = (clock() - begin) / sum(map(len, windows))
    detector = Detector.from_checkpoint(folder / "model.pth", device="cpu")
    steps = detector.steps(window=side, gap=0, batch_size=BATCH)
    for _ in detect_shard(steps, first[0], windows[0][:8]):  # warms up
        pass
    begin = clock()
    found = [list(detect_shard(steps, shard, each)) for shard, each in zip(first, windows, strict=True)]
    detect = (clock() - begin) / sum(map(len, windows))
    files = PartFiles(folder / "measured.jsonl", Header(detector.class_names, fingerprint=detector.fingerprint))
    begin = clock()
    for shard, each in zip(first, found, strict=True):
        files.write(shard, records_of(steps, each, Counter()))
    write = (clock() - begin) / len(first)
    begin = clock()
    files.join(first, steps.merge)
    join = (clock() - begin) / sum(map(len, windows))
    # One window, in a scene of its own size.
    from PIL import Image

    with Image.open(scene) as image:
        image.crop((0, 0, side, side)).save(folder / "one.png")
    write_manifest(folder / "one.jsonl", make_manifest([folder / "one.png"], window=side, gap=0))
    start = started(folder) - read - detect
    seconds, on_cpu = np.array([read, detect, write, join, start]).T
    return Parts(*seconds), Parts(*on_cpu)


def started(folder: Path) -> np.ndarray:
    """What the command takes for one window."""
    begin = clock()
    command(folder, "one.jsonl", "one-found.jsonl")
    (folder / "one-found.jsonl").unlink()
    return clock() - begin


def command(folder: Path, manifest: str, out: str) -> None:
    """Run `predict`."""
    words = ("predict", "--model", "model.pth", "--device", "cpu", "--shards", manifest, "--out", out)
    subprocess.run([sys.executable, "-m", "rbox_baselines", *words], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def table_of(parts: Parts, on_cpu: Parts) -> str:
    names = {
        "read": "read, decode and cut a window",
        "detect": f"detect in a window, in batches of {BATCH}",
        "write": "write a part of 64 windows",
        "join": "join, for each window",
        "start": "start a process, with its detector",
    }
    lines = ["| part | ms | ms of a core |", "|---|---:|---:|"]
    for name, text in names.items():
        lines.append(f"| {text} | {getattr(parts, name) * 1000:,.1f} | {getattr(on_cpu, name) * 1000:,.1f} |")
    return "\n".join([*lines, ""])


def estimate(parts: Parts, options: argparse.Namespace) -> str:
    """The hours of an archive, and where they go."""
    windows = options.scenes * options.windows
    count = math.ceil(windows / options.shard_windows)
    rate = options.preemptions / HOUR
    length = parts.shard(options.shard_windows, overlapping=True)
    tries = count * (expected_seconds(length, rate, start=parts.start, wait=options.wait) - length)
    # Of all processes together; reading runs beside detecting, so that the longer of the two counts.
    spent = {
        "detect" if parts.detect >= parts.read else "read": windows * parts.window(overlapping=True),
        "write parts": count * parts.write,
        "start": options.processes * parts.start,
        "preemptions: lost work, starts and waits": tries,
    }
    hours = sum(spent.values()) / options.processes / HOUR + windows * parts.join / HOUR
    lines = [
        f"{options.scenes:,} scenes of {options.windows} windows, {options.processes} processes: {hours:.2f} hours\n"
    ]
    lines += ["| of the hours of all processes | | |", "|---|---:|---:|"]
    total = sum(spent.values())
    lines += [f"| {name} | {value / HOUR:.2f} h | {value / total:.1%} |" for name, value in spent.items()]
    lines += [f"| join, by the process that ends last | {windows * parts.join / HOUR:.2f} h | |", ""]
    return "\n".join(lines)


def sizes(parts: Parts, options: argparse.Namespace) -> str:
    """What shards of different sizes cost, by the formula and by the simulation."""
    windows, rate = options.scenes * options.windows, options.preemptions / HOUR
    lines = [
        "| windows in a shard | seconds | formula | simulation | deaths | lost work |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for size in SIZES:
        counts = [size] * (windows // size) + ([windows % size] if windows % size else [])
        lengths = [parts.shard(each, overlapping=True) for each in counts]
        times = {"start": parts.start, "wait": options.wait}
        expected = sum(expected_seconds(length, rate, **times) for length in lengths) / options.processes + parts.start
        rng = np.random.default_rng(options.seed)
        runs = [simulate(lengths, lives(rate, rng), processes=options.processes, **times) for _ in range(20)]
        hours = np.array([run.seconds for run in runs]) / HOUR
        lost = np.mean([run.lost for run in runs]) / (windows * parts.window(overlapping=True))
        lines.append(
            f"| {size} | {lengths[0]:.0f} | {expected / HOUR:.3f} h | {hours.mean():.3f} ± {hours.std():.3f} h | "
            f"{np.mean([run.deaths for run in runs]):.1f} | {lost:.2%} |"
        )
    return "\n".join([*lines, ""])


def counts_of(folder: Path) -> list[int]:
    """The windows of the shards."""
    from rbox_formats.sharding import read_manifest

    return [shard.windows for shard in read_manifest(folder / "archive.jsonl").plan(pad_whole=False)]


def check(folder: Path, parts: Parts, on_cpu: Parts) -> None:
    """Compare the estimate with a real run by one process."""
    counts = counts_of(folder)
    begin = clock()
    command(folder, "archive.jsonl", "found.jsonl")
    measured, measured_cpu = clock() - begin
    # Other work on the cores comes and goes: the start is measured once more.
    again = replace(parts, start=(parts.start + float(started(folder)[0]) - parts.read - parts.detect) / 2)
    print(f"{sum(counts):,} windows in {len(counts)} shards, one process\n")
    print("| | estimate | measured | |\n|---|---:|---:|---:|")
    for name, each, real, overlapping in (
        ("seconds, where a window is read while another is detected in", again, measured, True),
        ("seconds, one after the other", again, measured, False),
        ("CPU seconds", on_cpu, measured_cpu, False),
    ):
        guess = each.start + sum(each.shard(count, overlapping=overlapping) for count in counts)
        guess += sum(counts) * each.join
        print(f"| {name} | {guess:.1f} | {real:.1f} | {guess / real - 1:+.0%} |", flush=True)


def failures(options: argparse.Namespace) -> None:
    """Compare the simulation with a real run by one process, which is killed and begun again at once."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        plan = sleeping_plan()
        lengths = []
        for shard in plan:
            steps = Telling()
            compute([shard], PartFiles(folder / "found.jsonl", HEADER), steps)
            lengths.append(PAUSE * len(steps.batches))
        start = min(-sleeper(folder, math.inf) for _ in range(3))  # all is done: it starts, and has nothing to do
        whole = folder / "found.jsonl.parts"
        expected_bytes = {path.name: path.read_bytes() for path in whole.iterdir()}
        for path in whole.iterdir():
            path.unlink()
        rng = np.random.default_rng(options.seed)
        drawn = lives(1 / options.life, rng)
        lived: list[float] = []
        while (seconds := sleeper(folder, next(drawn))) > 0:
            lived.append(seconds)
        assert {path.name: path.read_bytes() for path in whole.iterdir()} == expected_bytes
        seconds = sum(lived) - seconds
    told = simulate(lengths, chain(lived, [math.inf]), start=start)
    many = [simulate(lengths, lives(1 / options.life, rng), start=start) for _ in range(2000)]
    found = np.array([run.seconds for run in many])
    low, middle, high = np.percentile(found, [5, 50, 95])
    expected = expected_seconds(start, 1 / options.life)
    expected += sum(expected_seconds(length, 1 / options.life, start=start) for length in lengths)
    windows = sum(shard.windows for shard in plan)
    print(f"{windows:,} windows in {len(plan)} shards of {lengths[0]:.1f} s, one process, a start of {start:.1f} s,")
    print(f"a life of {options.life:.0f} s on average; killed after {', '.join(f'{each:.1f}' for each in lived)} s\n")
    print("| | seconds | deaths |\n|---|---:|---:|")
    print(f"| the real run | {seconds:.1f} | {len(lived)} |")
    print(f"| the simulation of the same lives | {told.seconds:.1f} | {told.deaths} |")
    print(f"| without deaths | {start + sum(lengths):.1f} | 0 |")
    deaths = np.mean([run.deaths for run in many])
    print(
        f"| 2,000 simulations of drawn lives: 5 %, median, 95 % | {low:.0f}, {middle:.0f}, {high:.0f} | {deaths:.1f} |"
    )
    print(f"| their mean | {found.mean():.1f} | |")
    print(f"| the formula | {expected:.1f} | |")


def sleeping_plan() -> list[Shard]:
    """Shards of small images in memory."""
    return shards(scenes_of([5] * 200), 30)


def sleeper(folder: Path, life: float) -> float:
    """Run a process that does what is left; return how long it lived until it was killed, negative if it was not."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, "--sleep"], cwd=folder)
    with suppress(subprocess.TimeoutExpired):
        if process.wait(None if math.isinf(life) else life):
            sys.exit("the process failed")
        return begin - time.monotonic()
    process.kill()
    process.wait()
    return time.monotonic() - begin


def sleep() -> None:
    """Detect in what is left, by a detector that sleeps."""
    parts = PartFiles("found.jsonl", HEADER)
    detect_parts(Failing(pause=PAUSE), parts.left(sleeping_plan()), parts)


if __name__ == "__main__":
    main()
