"""A small dataset and an untrained tiny model, made once for all tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from filelock import FileLock
from lmm_detector import Detector, TrainConfig, _families
from lmm_detector._spec import DetectorSpec
from lmm_detector.cli._common import set_up_output
from rbox_formats import ClassNames, codecs, datasets, images, synthetic
from rbox_testing.tiny_florence2 import save_tiny_florence2

NAMES = synthetic.CLASS_NAMES


@pytest.fixture(autouse=True, scope="session")
def quiet() -> None:
    set_up_output()


@pytest.fixture(scope="session")
def class_names() -> ClassNames:
    return NAMES


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_florence2(tmp_path_factory.mktemp("tiny"), NAMES, codecs.get("florence2"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of 96 px in `train`, and three of 160 px, which take four windows each, in `val`."""
    root = tmp_path_factory.mktemp("scenes")
    synthetic.write_scenes(root, "train", range(4), synthetic.TINY)
    synthetic.write_scenes(root, "val", range(4, 7), replace(synthetic.TINY, size=160))
    return root


@pytest.fixture(scope="session")
def detector(tiny_model: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The tiny model after 30 steps on the scenes in `train`: it writes boxes, a few of them right. In a folder.

    Where several processes share the tests, the first that needs it trains it for all of them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "detector"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _save_detector(tiny_model, scenes, folder)
    return Detector.from_pretrained(folder, device="cpu")


def _save_detector(tiny_model: Path, scenes: Path, folder: Path) -> None:
    codec = codecs.get("florence2")
    family = _families.load(str(tiny_model))
    samples = [
        _families.Sample(images.load(record.file), codec.encode(record.shapes, record.labels, NAMES, record.size), True)
        for record in datasets.read("dota", scenes, "train", NAMES)
    ]
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=4e-3)
    family.model.train()
    for _ in range(30):
        family.model(**family.on_device(family.collate(samples, codec.prompt))).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    family.save(folder)
    DetectorSpec(NAMES, codec.to_dict(), codec.prompt, window=96, gap=32).save(folder)


@pytest.fixture
def run_config(tiny_model: Path, scenes: Path, tmp_path: Path, class_names: ClassNames) -> TrainConfig:
    """A short run of the tiny model on four scenes."""
    return TrainConfig(
        model_name_or_path=str(tiny_model),
        data_path=[str(scenes)],
        split=["train"],
        class_names=list(class_names),
        out=str(tmp_path / "run"),
        window=96,
        gap=0,
        steps=6,
        batch_size=3,
        device_batch_size=3,
        learning_rate=2e-3,
        warmup=0.1,
        save_every=3,
        log_every=1,
        workers=0,
        report_to="none",
        cpu=True,
    )


# Commands in processes of their own.


class Forked:
    """A command that a fork of the server runs, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, ask: Callable[..., Any], pid: int, output: Path) -> None:
        self._ask, self._pid, self._output = ask, pid, output
        self.returncode: int | None = None

    def poll(self, block: bool = False) -> int | None:
        if self.returncode is None:
            self.returncode = self._ask(wait=self._pid, block=block)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            psutil.Process(self._pid).kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """The limit is that of the test."""
        self.poll(block=True)
        return self._output.read_text(encoding="utf-8"), None


class Launched(subprocess.Popen):
    """A launcher, and the processes that it has started, which are in sessions of their own."""

    def kill(self) -> None:
        for each in [*psutil.Process(self.pid).children(recursive=True), super()]:
            each.kill()


class Ranks:
    """Several commands that are one run."""

    def __init__(self, commands: Sequence[Forked]) -> None:
        self.commands = commands

    @property
    def returncode(self) -> int | None:
        codes = [command.returncode for command in self.commands]
        return None if None in codes else next((code for code in codes if code), 0)

    def poll(self) -> int | None:
        for command in self.commands:
            command.poll()
        return self.returncode

    def kill(self) -> None:
        for command in self.commands:
            command.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        return "".join(command.communicate()[0] for command in self.commands), None


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts `lmm-detector` in a fork of a process that has imported it already."""
    folder = tmp_path_factory.mktemp("commands")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fork_server.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(**request: Any) -> Any:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    def start(arguments: Sequence[object], cwd: Path = folder, **variables: object) -> Forked:
        output = folder / f"{len(list(folder.iterdir()))}.txt"
        output.touch()
        words = [str(argument) for argument in arguments]
        variables = {name: str(value) for name, value in variables.items()}
        return Forked(ask, ask(fork=[words, str(cwd), variables, str(output)]), output)

    yield start
    server.communicate()


def popen(cls: type[subprocess.Popen], words: Sequence[object], cwd: Path | None = None) -> subprocess.Popen:
    return cls(
        [str(word) for word in (sys.executable, *words)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(params=["forked", pytest.param("fresh", marks=[pytest.mark.slow, pytest.mark.variant])])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts `lmm-detector` with arguments in a folder; where all tests run, also in a fresh interpreter."""
    if request.param == "forked":
        started: Start = request.getfixturevalue("forked")
        return started
    code = "from lmm_detector.cli.main import main; main()"
    return lambda arguments, cwd=None: popen(subprocess.Popen, ["-c", code, *arguments], cwd)


@pytest.fixture(params=["forked", pytest.param("torchrun", marks=[pytest.mark.slow, pytest.mark.variant])])
def start_two(request: pytest.FixtureRequest) -> Start:
    """Starts it as two processes that share a run: told of each other as torchrun does it, or by torchrun itself."""
    if request.param == "forked":
        started: Start = request.getfixturevalue("forked")

        def ranks(arguments: Sequence[object]) -> Ranks:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": probe.getsockname()[1]}
            return Ranks(
                [
                    started(arguments, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2, **meeting)
                    for rank in range(2)
                ]
            )

        return ranks
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lmm_detector"]
    return lambda arguments: popen(Launched, [*launcher, *arguments])
