"""What a first run compiles, and what it says of that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import rbox_formats
import rbox_metrics
from rbox_formats import ClassNames, Dataset, ImageRecord, datasets
from rbox_formats.predictions import Header, Writer
from rbox_metrics.cli import _compiling
from rbox_metrics.cli._compiling import kernels_of

NAMES = ("ship", "plane", "harbor")

# Each runs in the same process, but with nothing loaded: in the order of a newcomer who tries one after the other.
CASES = [
    ("evaluate", "voc07", None),
    ("evaluate", "fair1m", None),
    ("evaluate", "dota", None),
    ("evaluate", "voc", "quad"),
    ("evaluate", "coco", None),
    ("evaluate", "coco", "mask"),
    ("sweep", "dota", None),
    ("sweep", "coco", None),
    ("confusion", "voc07", None),
    ("confusion", "dota", None),
    ("compare", "voc07", None),
    ("compare", "coco", None),
]

CODE = """
import json, logging, sys
from click.testing import CliRunner
from numba.core import event
from numba.core.dispatcher import Dispatcher
from rbox_metrics.cli.main import main

compiled, messages, depth = [], [], [0]

def name(dispatcher):
    return dispatcher.py_func.__module__ + "." + dispatcher.py_func.__name__

class Listener(event.Listener):
    def on_start(self, found):
        if not depth[0]:
            compiled.append(name(found.data["dispatcher"]))
        depth[0] += 1

    def on_end(self, found):
        depth[0] -= 1

class Handler(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())

def kernels():
    modules = [module for key, module in sys.modules.items() if key.startswith("rbox_metrics.")]
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    # Those that Python calls: what is part of others has no wrapper.
    return [value for value in found.values() if not value.targetoptions.get("no_cpython_wrapper")]

event.register("numba:compile", Listener())
logging.getLogger("rbox_metrics").addHandler(Handler())
for arguments in json.loads(sys.argv[1]):
    for kernel in kernels():
        kernel._reset_overloads()
    compiled.clear()
    messages.clear()
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    used = {name(kernel): len(kernel.signatures) for kernel in kernels() if kernel.signatures}
    print(json.dumps([compiled, used, [line for line in messages if "compil" in line]]))
"""


def environment(cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "RBOX_CHECK_SHAPES"}
    paths = [str(Path(module.__file__).parents[1]) for module in (rbox_formats, rbox_metrics)]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "NUMBA_CACHE_DIR": str(cache)}


@pytest.fixture
def inputs(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]], tmp_path: Path) -> list[str]:
    """A dataset with every kind of error in its detections."""
    truths, predictions = crowded_scene(0, 30)
    datasets.write("dota", Dataset(ClassNames(NAMES), truths), tmp_path / "data", None, ClassNames(NAMES))
    path = tmp_path / "predictions.jsonl"
    with Writer(path, Header(ClassNames(NAMES), fingerprint="none")) as writer:
        for record in predictions:
            writer.write(record)
    return ["--data", str(tmp_path / "data"), "--predictions", str(path), "--class-names", ",".join(NAMES)]


@pytest.mark.slow
def test_a_first_run_compiles_what_it_says_once(inputs: list[str], tmp_path: Path) -> None:
    calls = [
        [command, *inputs, "--protocol", protocol]
        + (["--geometry", geometry] if geometry else [])
        + (["--other", inputs[3], "--resamples", "10"] if command == "compare" else [])
        for command, protocol, geometry in CASES
    ]
    run = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(calls)],
        env=environment(tmp_path / "cache"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    on_disk: set[str] = set()
    for case, line in zip(CASES, run.stdout.splitlines(), strict=True):
        compiled, used, messages = json.loads(line)
        kernels = {
            what: {f"{kernel.py_func.__module__}.{kernel.py_func.__name__}" for kernel in found}
            for what, found in kernels_of(*case).items()  # type: ignore[arg-type]  # a table of texts
        }
        assert set(used) == set().union(*kernels.values()), case
        # Not once for each layout of an array, and nothing that the call does not need.
        assert set(used.values()) == {1}, case
        assert sorted(compiled) == sorted(set(used) - on_disk), case
        if compiled:
            [message] = messages
            assert f" ({len(compiled)} function" in message
            assert message.endswith("the next run finds them on disk")
            assert [what for what, names in kernels.items() if names - on_disk] == [
                what for what in kernels if what in message
            ]
        else:
            assert messages == []
        on_disk |= set(compiled)
    assert on_disk


def test_what_cannot_be_kept_is_said_to_come_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = SimpleNamespace(overloads={}, stats=SimpleNamespace(cache_path=None))
    monkeypatch.setattr(_compiling, "kernels_of", lambda *_: {"matching": [kernel], "errors": []})
    with caplog.at_level("INFO", "rbox_metrics"):
        _compiling.say_if_compiling("evaluate", "voc07", None)
        kernel.overloads["compiled"] = "in this process"
        _compiling.say_if_compiling("evaluate", "voc07", None)
    [message] = caplog.messages
    assert message.startswith(
        "compiling for this machine: matching (1 function, about 1 second on an idle core); each run"
    )
    assert "NUMBA_CACHE_DIR" in message


def test_no_quad_is_compiled_for_boxes() -> None:
    assert not any("quad" in what for what in kernels_of("evaluate", "voc07", None))
    assert any("quad" in what for what in kernels_of("evaluate", "dota", None))
