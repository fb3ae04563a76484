"""Commands that write: one at a time, whatever becomes of the other, and to the end, whoever listens."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner, Result
from lmm_detector.cli.main import main as lmm_detector
from rbox_baselines.cli.main import main as rbox_baselines
from rbox_formats.cli.main import main as rbox_formats
from rbox_metrics.cli.main import main as rbox_metrics
from rbox_testing.commands import WRITING, Writing, make_inputs
from rbox_testing.samples import sampled

COMMANDS: dict[str, click.Group] = {
    "lmm-detector": lmm_detector,
    "rbox-baselines": rbox_baselines,
    "rbox-formats": rbox_formats,
    "rbox-metrics": rbox_metrics,
}

# Options and arguments that name what is written.
OUTPUTS = {"out", "plots", "pictures", "geojson", "dota_submission", "fair1m_submission"}

PLACES = [(name, output) for name, writing in WRITING.items() for output in writing.outputs]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of inputs of one kind, made when it is first asked for."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_inputs(tmp_path_factory.mktemp(kind) / "in", ("data", kind))
        return made[kind]

    return get


def run(writing: Writing, *more: str) -> Result:
    return CliRunner().invoke(COMMANDS[writing.words[0]], [*writing.words[1:], *more])


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Has another process hold the locks of some paths."""
    code = """
import sys
from rbox_formats import files
with files.locked(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""
    started = []

    def hold(*paths: Path) -> subprocess.Popen:
        words = [sys.executable, "-c", code, *map(str, paths)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def holder() -> Iterator[Callable[[Path | None], int]]:
    """Another process: it holds the lock of the path that it is given, or of none any more, and says who it is."""
    code = """
import sys
from rbox_formats import files
for path in sys.stdin:
    with files.locked(path.rstrip("\\n")):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    ask, answers = process.stdin, process.stdout

    def hold(path: Path | None) -> int:
        print(path or "", file=ask, flush=True)
        assert answers.readline() == ("held\n" if path else "free\n")
        return process.pid

    yield hold
    process.kill()
    process.communicate()


def test_every_command_that_writes_is_in_the_table() -> None:
    listed = {tuple(writing.words[:2]): writing for writing in WRITING.values()}
    for program, group in COMMANDS.items():
        for name, command in group.commands.items():
            options = [each for each in command.params if not getattr(each, "is_flag", False)]
            outputs = {parameter.name for parameter in options} & OUTPUTS
            waits = "wait" in {parameter.name for parameter in command.params}
            assert bool(outputs) == waits == ((program, name) in listed), (program, name)
            if not outputs:
                continue
            # Each of its outputs is among the arguments, so that the tests below hold each of them.
            given = listed[program, name].words
            for option in options:
                if option.name in outputs and isinstance(option, click.Option):
                    assert option.opts[0] in given, (program, name)


@pytest.mark.parametrize("name, output", PLACES, ids=[f"{name}-{output}" for name, output in PLACES])
def test_the_second_ends_and_names_the_first(
    name: str, output: str, tmp_path: Path, holder: Callable[[Path | None], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it looks at its inputs: there are none here."""
    monkeypatch.chdir(tmp_path)
    pid = holder(tmp_path / output)
    before = sorted(tmp_path.rglob("*"))
    result = run(WRITING[name])
    after = sorted(tmp_path.rglob("*"))
    holder(None)
    assert result.exit_code == 1, result.output
    line = f"Error: {tmp_path / output}: expected no other process to write here, found process {pid} on "
    assert result.output.startswith(line)
    assert after == before


ALL = sampled([name for name, writing in WRITING.items() if writing.needs], ["metrics merge", "lmm visualize"])


@pytest.mark.parametrize("name", ALL)
def test_a_killed_first_does_not_block(
    name: str,
    tmp_path: Path,
    hold: Callable[..., subprocess.Popen],
    inputs: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writing = WRITING[name]
    (tmp_path / "in").symlink_to(inputs(str(writing.needs)))
    monkeypatch.chdir(tmp_path)
    holder = hold(*(tmp_path / output for output in writing.outputs))
    holder.kill()
    holder.wait()
    # A process of its own where libraries keep what they are told for the whole of one.
    if writing.needs == "data":
        result = run(writing)
        code, output = result.exit_code, f"{result.output}{result.exception!r}"
    else:
        done = subprocess.run(words(writing), capture_output=True, text=True, timeout=300)
        code, output = done.returncode, done.stdout + done.stderr
    assert code == 0, output
    left = [path.name for path in tmp_path.rglob(".*") if path.name.endswith(".lock") or "-tmp-" in path.name]
    assert not left
    made = {path.name for path in tmp_path.iterdir()} - {"in"}
    assert made == {output.split("/")[0] for output in writing.outputs}


def words(writing: Writing) -> list[str]:
    """The command in a process of its own."""
    return [sys.executable, "-m", writing.module, *writing.words[1:]]


def test_waiting(tmp_path: Path, hold: Callable[..., subprocess.Popen], inputs: Callable[[str], Path]) -> None:
    (tmp_path / "in").symlink_to(inputs("data"))
    writing = WRITING["formats encode"]
    holder = hold(tmp_path / "out.jsonl")
    second = subprocess.Popen([*words(writing), "--wait"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    assert f"found process {holder.pid} on " in second.stderr.readline()
    assert second.poll() is None
    holder.kill()
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 3


def test_processes_of_one_run_share_the_lock(
    tmp_path: Path, hold: Callable[..., subprocess.Popen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of torchrun's processes does not ask for it: the first has it."""
    monkeypatch.chdir(tmp_path)
    for name in ("lmm_detector", "rbox_baselines", "rbox_formats", "rbox_metrics"):
        monkeypatch.setattr(logging.getLogger(name), "setLevel", lambda level: None)  # it would keep quiet for ever
    for name in ("lmm train", "lmm predict", "lmm evaluate", "baselines train"):
        hold(*(tmp_path / f"{name}-{output}" for output in WRITING[name].outputs))
        monkeypatch.setenv("RANK", "1")
        assert "expected no other process" not in run(WRITING[name]).output
        monkeypatch.delenv("RANK")


# Ctrl-C, which a terminal sends to all processes of a command.


def begin(writing: Writing, folder: Path, *launcher: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *launcher, *writing.words[1:]] if launcher else words(writing),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def stop(process: subprocess.Popen, folder: Path, delay: float) -> tuple[list[str], list[psutil.Process]]:
    """Presses Ctrl-C some time after a command has begun to write: what it says, and which processes it leaves."""
    while process.poll() is None and not any(path.name.endswith(".lock") for path in folder.iterdir()):
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is not None:
        return process.communicate()[1].splitlines(), []
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begun < 5, said
    _, alive = psutil.wait_procs(family, timeout=1)
    return said.splitlines(), [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


INTERRUPTED = [
    pytest.param(name, delay, marks=[] if (name, delay) == ("formats split", 0.7) else [pytest.mark.slow])
    for name, writing in WRITING.items()
    for delay in ((0.05, 0.7) if writing.needs == "data" else (0.1, 4.0, 8.0))
    if writing.needs
]


@pytest.mark.parametrize("name, delay", INTERRUPTED)
def test_ctrl_c_ends_with_one_line(name: str, delay: float, tmp_path: Path, inputs: Callable[[str], Path]) -> None:
    writing = WRITING[name]
    (tmp_path / "in").symlink_to(inputs(str(writing.needs)))
    process = begin(writing, tmp_path)
    lines, left = stop(process, tmp_path, delay)
    assert not left
    if process.returncode == 0 or (process.returncode == -signal.SIGINT and "Stopped by Ctrl-C." not in lines):
        return  # it was faster; in the interpreter's last milliseconds there are no handlers of signals any more
    assert process.returncode == 130, lines
    assert lines[-1] == "Stopped by Ctrl-C."
    # What stands before is what any run says: a bar for what it was at, and messages.
    assert not any("Traceback" in line or "Error" in line or "Interrupt" in line for line in lines), lines
    assert not [path for path in tmp_path.rglob(".*") if path.name.endswith(".lock") or "-tmp-" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [2.0, 6.0])
@pytest.mark.parametrize("name", ["lmm train", "lmm predict"])
def test_ctrl_c_ends_all_processes_of_torchrun(
    name: str, delay: float, tmp_path: Path, inputs: Callable[[str], Path]
) -> None:
    """torchrun itself says at length that it was stopped; of the processes of ours, the first says a line at most."""
    (tmp_path / "in").symlink_to(inputs("lmm"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lmm_detector")
    writing = WRITING[name]
    if name == "lmm train":
        writing = replace(writing, words=(*writing.words, "--batch-size", "2", "--device-batch-size", "1"))
    process = begin(writing, tmp_path, *launcher)
    lines, left = stop(process, tmp_path, delay)
    assert not left
    assert lines.count("Stopped by Ctrl-C.") <= 1
    assert not any("lmm_detector" in line and line.lstrip().startswith("File ") for line in lines), lines


# Pipes whose reader has gone.


@pytest.mark.parametrize(
    "command",
    sampled(
        ["rbox-formats inspect", "rbox-formats convert", "rbox-metrics confusion", "rbox-formats --help"],
        ["rbox-formats convert"],
    ),
)
def test_the_work_is_done_when_nobody_listens(command: str, tmp_path: Path, inputs: Callable[[str], Path]) -> None:
    """As in `command | true`, with standard error into the same pipe: no word, code 0, and all files are there."""
    (tmp_path / "in").symlink_to(inputs("data"))
    program, subcommand = command.split()
    writing = WRITING.get(f"{program.removeprefix('rbox-')} {subcommand}") or Writing((program, subcommand), ())
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(words(writing), cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    said = [line for line in done.stderr.splitlines() if "\u2501" not in line and not line.startswith("compiling")]
    assert (done.returncode, said) == (0, [])
    for output in writing.outputs:
        assert (tmp_path / output).exists()
    both = subprocess.run([*words(writing)], cwd=tmp_path, stdout=write, stderr=write)
    assert both.returncode == (1 if subcommand == "convert" else 0)  # which writes over nothing that is there
    os.close(write)
