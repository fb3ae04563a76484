"""The work of one prediction, shared by jobs, by processes of torchrun and by actors of Ray: always the same bytes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rbox_formats import files, predictions, synthetic
from rbox_testing import small_retinanet

KINDS = {"lmm-detector": "lmm_detector", "rbox-baselines": "rbox_baselines"}
# What is found depends in its last bits on the number of threads, which Ray sets to 1.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
Run = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, one of which has many windows, a manifest of them, and a detector of each kind."""
    folder = tmp_path_factory.mktemp("archive")
    synthetic.write_scenes(folder / "data", "train", range(2), synthetic.TINY)
    synthetic.write_scenes(folder / "data", "val", range(1), synthetic.TINY)
    checkpoint = small_retinanet.save(folder / "model.pth", folder / "data", synthetic.CLASS_NAMES)
    saved = torch.load(checkpoint, weights_only=True)
    # One that has learnt nothing is sure of nothing.
    saved["meta"]["cfg"] = re.sub(r"score_thr=[\d.]+", "score_thr=0.0", saved["meta"]["cfg"])
    torch.save(saved, checkpoint)
    (folder / "scenes").mkdir()
    tiles = [synthetic.scene(seed, synthetic.VARIED)[0][:96, :96] for seed in range(30_000_000, 30_000_009)]
    large = np.concatenate([np.concatenate(tiles[row : row + 3], axis=1) for row in (0, 3, 6)])
    for name, pixels in (("large", large), ("a", tiles[0]), ("b", tiles[4]), ("c", tiles[8])):
        Image.fromarray(pixels).save(folder / "scenes" / f"{name}.png")
    words = ("shards", "--window", "96", "--gap", "24", "--shard-windows", "5", "--out", "archive.jsonl", "scenes")
    subprocess.run([sys.executable, "-m", "rbox_formats", *words], cwd=folder, check=True, capture_output=True)
    return folder


# In `.ci/run` each way is taken by one kind of detector.
def ways(usual: str) -> Any:
    return pytest.mark.parametrize(
        "kind",
        [pytest.param(kind, marks=() if kind == usual else pytest.mark.variant) for kind in KINDS],
        indirect=True,
    )


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def words_of(kind: str, out: Path, *more: object) -> list[str]:
    model = "demo" if kind == "lmm-detector" else "model.pth"
    words = ("predict", "--model", model, "--device", "cpu", "--batch-size", "2", "--shards", "archive.jsonl")
    return [str(word) for word in (*words, "--score-threshold", "0.01", "--out", out, *more)]


@pytest.fixture
def predict(kind: str, folder: Path) -> Run:
    def run(out: Path, *more: object, prefix: Sequence[str] = ("-m",)) -> str:
        command = [sys.executable, *prefix, KINDS[kind], *words_of(kind, out, *more)]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def alone(kind: str, predict: Run, folder: Path) -> bytes:
    """What one process writes."""
    out = folder / f"{kind}.jsonl"
    if not out.exists():
        predict(out)
        found = predictions.read(out)
        assert [record.image_id for record in found] == ["a", "b", "c", "large"]
        assert found[3].size == (288, 288)
        assert sum(map(len, found)) > 0
    return out.read_bytes()


@pytest.mark.slow
@ways("rbox-baselines")
def test_jobs_of_an_array_in_any_order(predict: Run, alone: bytes, tmp_path: Path) -> None:
    """The last one joins; one that is given again changes nothing."""
    out = tmp_path / "found.jsonl"
    for _ in range(2):
        assert "This share is done" in predict(out, "--share", "2/2")
        assert not out.exists()
        assert (tmp_path / "found.jsonl.parts").is_dir()
    assert "The predictions are in" in predict(out, "--share", "1/2")
    assert out.read_bytes() == alone
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@ways("lmm-detector")
def test_processes_of_torchrun(predict: Run, alone: bytes, tmp_path: Path) -> None:
    two = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m")
    said = predict(tmp_path / "found.jsonl", prefix=two)
    assert "The predictions are in" in said
    assert (tmp_path / "found.jsonl").read_bytes() == alone


@pytest.mark.slow
@pytest.mark.variant
def test_actors_of_ray(predict: Run, alone: bytes, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    predict(tmp_path / "found.jsonl", "--engine", "ray", "--actors", 2)
    assert (tmp_path / "found.jsonl").read_bytes() == alone


@pytest.mark.slow
@pytest.mark.variant
def test_a_killed_driver_of_ray_is_resumed_by_one_process(
    kind: str, predict: Run, alone: bytes, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "found.jsonl"
    command = [sys.executable, "-m", KINDS[kind], *words_of(kind, out, "--engine", "ray", "--actors", 2)]
    driver = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not files.visible(tmp_path / "found.jsonl.parts"):
        assert driver.poll() is None
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    predict(out)
    assert out.read_bytes() == alone


@pytest.mark.parametrize(
    "more, message",
    [
        (("scenes",), "Give one of --data, --shards, and images."),
        (("--window", 64), "--window and --gap are those of the manifest"),
        (("--actors", 2), "--ray-address and --actors go with --engine ray"),
        (("--share", "0/3"), "expected one of N shares, such as 3/100, got '0/3'"),
        (("--share", "4/3"), "expected one of N shares, such as 3/100, got '4/3'"),
    ],
)
def test_options_that_do_not_go_together(more: tuple[object, ...], message: str, kind: str, tmp_path: Path) -> None:
    from click.testing import CliRunner
    from lmm_detector.cli.main import main as lmm
    from rbox_baselines.cli.main import main as baselines

    main = {"lmm-detector": lmm, "rbox-baselines": baselines}[kind]
    done = CliRunner().invoke(main, words_of(kind, tmp_path / "found.jsonl", *more))
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
