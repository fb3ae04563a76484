"""Kill commands at random instants, give them again, and compare what they wrote with a run that was not killed.

    hatch run kills                           # 30 kills of each command
    hatch run kills --count 3 convert split   # of some

A command is killed (SIGKILL) once, alone or with all of its processes, at an instant between its first file and its
end; then it is given again, and has to come to its end without a word about what is there. All files that it leaves,
hidden ones too, are compared with those of an unbroken run, byte for byte. Only what holds times and names of a run is
read first: see `CONTENTS`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click
from rbox_testing.commands import WRITING, Writing, make_inputs

# The commands by their short names, and how many scenes each works on: enough that there is something to kill.
COMMANDS = {
    "convert": ("formats convert", 60),
    "split": ("formats split", 12),
    "evaluate": ("metrics evaluate", 12),
    "baselines-predict": ("baselines predict", 6),
    "baselines-train": ("baselines train", 3),
    "baselines-distill": ("baselines distill", 4),
    "lmm-train": ("lmm train", 3),
    "lmm-predict": ("lmm predict", 6),
}

# A run that is this much longer than the unbroken one hangs.
_PATIENCE = 300.0

# How often a command is begun for one kill: it may come to its end before.
_TRIES = 50

Tree = Mapping[str, str]


class Kill(NamedTuple):
    """What came of one kill.

    Attributes:
        instant: When, in seconds after the start.
        left: Files that were there when the process was dead, except its lock.
        different: Files, hidden ones too, that are not as in the unbroken run; none where all is well.
        error: What the command said when it was given again and failed.
    """

    instant: float
    left: int
    different: tuple[str, ...]
    error: str | None


def start(command: Writing, folder: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own; its output is in `folder/said`, which is not compared."""
    with (folder.parent / f"{folder.name}.said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", command.module, *command.words[1:]],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def new_folder(base: Path, name: str) -> Path:
    """Return a folder for a command to run in."""
    folder = base / name
    folder.mkdir()
    (folder / "in").symlink_to(base / "in")
    return folder


class Whole(NamedTuple):
    """A run that was not killed.

    Attributes:
        tree: What it left.
        first: When it wrote its first file, in seconds after its start.
        ended: When it ended.
        last: What it said last.
    """

    tree: Tree
    first: float
    ended: float
    last: str


def unbroken(command: Writing, base: Path) -> Whole:
    """Run a command to its end."""
    folder = new_folder(base, "whole")
    begun = time.monotonic()
    process = start(command, folder)
    first = None
    while process.poll() is None:
        if first is None and any(path.name != "in" and path.suffix != ".lock" for path in folder.iterdir()):
            first = time.monotonic() - begun
        time.sleep(0.002)
    ended = time.monotonic() - begun
    if process.returncode != 0:
        raise click.ClickException(f"{' '.join(command.words)}:\n{said(folder)}")
    return Whole(tree(folder), ended if first is None else first, ended, said(folder).strip().splitlines()[-1])


def kill(command: Writing, base: Path, whole: Whole, random_: random.Random) -> Kill:
    """Kill a command once, and give it again."""
    first, last = 0.9 * whole.first, whole.ended
    for _ in range(_TRIES):
        folder = new_folder(base, "killed")
        instant, alone = random_.uniform(first, last), random_.random() < 0.5
        process = start(command, folder)
        time.sleep(instant)
        if alone:
            process.kill()
        elif process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        # A command that has said that all is there is not given again.
        if process.wait() == -signal.SIGKILL and whole.last not in said(folder):
            break
        # Too late: other work has left the cores since the unbroken run.
        first, last = min(first, 0.9 * instant), instant
        remove(folder)
    else:
        raise click.ClickException(f"expected a command that can be killed, got {_TRIES} times: {whole.last}")
    left = sum(not name.endswith(".lock") for name in tree(folder))
    process = start(command, folder)
    try:
        code = process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    error = None if code == 0 else said(folder)
    found = tree(folder)
    different = tuple(sorted(name for name in {*found, *whole.tree} if found.get(name) != whole.tree.get(name)))
    remove(folder)
    return Kill(instant, left, different, error)


def said(folder: Path) -> str:
    """Return what a command said."""
    return (folder.parent / f"{folder.name}.said").read_text(errors="replace")


def remove(folder: Path) -> None:
    """Remove the folder of a run; its workers may be about to end."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def tree(folder: Path) -> Tree:
    """Return all files, links and folders below a folder but its inputs, and what is in them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == "in" or name.startswith("in/") or is_of_a_time(name):
            continue
        if path.is_symlink():
            found[name] = f"to {path.readlink()}"
        elif path.is_file():
            read = next((read for ending, read in CONTENTS.items() if re.search(f"{ending}$", name)), Path.read_bytes)
            found[name] = hashlib.sha256(read(path)).hexdigest()
    return found


# Runs of mmengine: folders and files are named by the time, and each run has a name of its own, drawn by chance.
_TIME = re.compile(r"\d{8}_\d{6}")


def is_of_a_time(name: str) -> bool:
    """Return whether a file only says when a run was, and how long it took: mmengine's logs."""
    return bool(_TIME.search(name))


def checkpoint(path: Path) -> bytes:
    """Return the content of checkpoints without times, names and texts: weights, optimiser, schedules, place."""
    import torch

    held = torch.load(path, map_location="cpu", weights_only=False)  # which we have just written
    kept = {name: held[name] for name in ("state_dict", "optimizer", "param_schedulers", "step") if name in held}
    kept["place"] = [held.get("meta", {}).get(name) for name in ("epoch", "iter", "seed")]
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    return buffer.getvalue()


def config(path: Path) -> bytes:
    """Return a config without the run's name and without what differs in a resumed run."""
    text = re.sub(r"run-[0-9a-f]{8}", "run", path.read_text())
    return "".join(line for line in text.splitlines(True) if not line.startswith(("resume =", "load_from ="))).encode()


def name_in(path: Path) -> bytes:
    """Return the file that a file names, without the folder of the run."""
    return Path(path.read_text()).name.encode()


def log(path: Path) -> bytes:
    """A log of JSON lines without speeds, and without losses, which are means since the run was resumed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps(
        [{key: line[key] for key in line if key not in ("loss", "images_per_second")} for line in lines]
    ).encode()


CONTENTS: dict[str, Callable[[Path], bytes]] = {
    r"(epoch_\d+|last)\.pth": checkpoint,
    r"1x_dota\.py": config,
    r"last_checkpoint": name_in,
    r"log\.jsonl": log,
}
"""What is compared in place of a file's bytes, by how its name ends, as a pattern."""


@click.command()
@click.argument("commands", nargs=-1, type=click.Choice(list(COMMANDS)))
@click.option("--count", default=30, show_default=True, type=click.IntRange(min=1), help="Kills of each command.")
@click.option("--seed", default=0, show_default=True, help="Of the instants.")
@click.option("--scenes", type=click.IntRange(min=1), help="That a command works on. [default: each its own number]")
def main(commands: tuple[str, ...], count: int, seed: int, scenes: int | None) -> None:
    """Kill COMMANDS, or all, and say what did not come out as without a kill; the exit code is then 1."""
    failed = 0
    for name in commands or COMMANDS:
        key, own = COMMANDS[name]
        command = WRITING[key]
        random_ = random.Random(f"{seed} {name}")
        with tempfile.TemporaryDirectory(prefix=f"kills-{name}-", ignore_cleanup_errors=True) as base:
            make_inputs(Path(base) / "in", ("data", command.needs or ""), scenes=scenes or own)
            whole = unbroken(command, Path(base))
            kills = [kill(command, Path(base), whole, random_) for _ in range(count)]
        bad = [each for each in kills if each.error or each.different]
        failed += len(bad)
        halfway = sum(each.left > 0 for each in kills)
        click.echo(
            f"{name}: {count} kills between {0.9 * whole.first:.1f} and {whole.ended:.1f} s, {halfway} of them "
            f"with files left; {len(whole.tree)} files; {len(bad)} did not come out as without a kill"
        )
        for each in bad:
            click.echo(f"  at {each.instant:.2f} s: {', '.join(each.different[:5])} {each.error or ''}".rstrip())
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
