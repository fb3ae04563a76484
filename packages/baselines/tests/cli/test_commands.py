"""The commands as a user gives them: a run from training to scores, and what bad input is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from rbox_baselines.cli.main import main
from rbox_formats import predictions, synthetic

NAMES = ",".join(synthetic.CLASS_NAMES)
RETINANET = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota"
OPTIONS = [
    "model.backbone.depth=18",
    "model.backbone.frozen_stages=-1",
    "model.backbone.base_channels=8",
    "model.neck.in_channels=[8, 16, 32, 64]",
    "model.neck.out_channels=16",
    "model.bbox_head.in_channels=16",
    "model.bbox_head.feat_channels=16",
    "train_cfg.max_epochs=1",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=false",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=false",
]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.slow
def test_a_run_starts_again_where_that_is_asked_for(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    options = [part for option in OPTIONS for part in ("--cfg-options", option)]
    words = ["train", RETINANET, "--data", scenes, "--class-names", NAMES, "--image-size", 64, "--backbone", "none"]
    words += ["--out", tmp_path, *options]
    times = []
    for more in ([], [], ["--restart"]):
        assert invoke(*words, *more).exit_code == 0
        times.append((tmp_path / "epoch_1.pth").stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]


def test_from_training_to_scores(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    run, out, report = tmp_path / "run", tmp_path / "found.jsonl", tmp_path / "report.json"
    options = [part for option in OPTIONS for part in ("--cfg-options", option)]
    data = ["--data", scenes, "--class-names", NAMES]
    trained = invoke("train", RETINANET, *data, "--out", run, "--image-size", 64, "--backbone", "none", *options)
    assert trained.exit_code == 0, trained.output
    assert f"The last checkpoint is {run / 'epoch_1.pth'}" in trained.output

    # Given again, it resumes the run, which has nothing left to do.
    again = ["train", RETINANET, *data, "--out", run, "--image-size", 64, "--backbone", "none", *options]
    before = (run / "epoch_1.pth").stat().st_mtime_ns
    resumed = invoke(*again)
    assert resumed.exit_code == 0, resumed.output
    assert (run / "epoch_1.pth").stat().st_mtime_ns == before

    pictures = tmp_path / "pictures"
    found = invoke(
        "predict",
        scenes / "val" / "images",
        *("--model", run / "epoch_1.pth", "--out", out, "--pictures", pictures),
        *("--flip", "horizontal", "--score-threshold", 0.0),
    )
    assert found.exit_code == 0, found.output
    assert len(list(pictures.glob("*.png"))) == len(predictions.read(out)) + 1 == 4  # with the sheet of all

    scored = invoke("evaluate", *data, "--split", "val", "--predictions", out, "--out", report)
    assert scored.exit_code == 0, scored.output
    figures = json.loads(report.read_text())
    assert (figures["protocol"], figures["images"]) == ("voc07", 3)
    assert all(0 <= figures["sweep"]["best"][name]["threshold"] < 1 for name in ("map_nc", "f1_micro"))

    other = tmp_path / "again.jsonl"
    both = invoke(
        "evaluate",
        *data,
        *("--split", "val", "--predictions", other, "--model", run / "epoch_1.pth"),
        *("--flip", "horizontal", "--score-threshold", 0.0),
    )
    assert both.exit_code == 0, both.output
    assert other.read_text().splitlines()[1:] == out.read_text().splitlines()[1:]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["train", "rotated-fcos-rsar-800", "--out", "run"], 1, "Name its folder, in the format rsar: --data."),
        (["train", RETINANET, "--out", "run", "--split", "x"], 2, "--val-split and --drop go with --data."),
        (["train", "rotated-fcso", "--out", "run"], 1, "expected a preset, a config of MMRotate's or mmdet's zoo"),
        (["predict", "--model", "no.pth", "--out", "x.jsonl"], 2, "Give one of --data, --shards, and images."),
        (["predict", "no.png", "--model", "no.pth", "--out", "x.jsonl"], 1, "no.png: expected images"),
        (["evaluate", "--data", "none", "--predictions", "x.jsonl"], 1, "x.jsonl: expected a predictions file"),
    ],
)
def test_bad_input(
    arguments: list[str],
    code: int,
    message: str,
    mmrotate: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_checkpoint_runs_nothing(mmrotate: ModuleType, tmp_path: Path) -> None:
    """mmengine would call what its config names."""
    mark, image, evil = tmp_path / "mark", tmp_path / "scene.png", tmp_path / "evil.pth"
    Image.new("RGB", (64, 64)).save(image)
    meta = {"cfg": f"model = dict(type='os.system', command='touch {mark}')\n", "dataset_meta": {"classes": ("ship",)}}
    torch.save({"meta": meta, "state_dict": {"a": torch.zeros(1)}}, evil)
    result = invoke("predict", image, "--model", evil, "--out", tmp_path / "found.jsonl")
    assert result.exit_code == 1
    assert f"{evil}: expected model.type" in result.output
    assert "os.system" in result.output
    assert "--config" in result.output
    assert not mark.exists()


def test_presets_and_zoo_are_listed() -> None:
    listed = invoke("train", "--list").output
    assert "rotated-retinanet-dota-trainval: dota (trainval), 1024 px, 12 epochs" in listed
    assert RETINANET in listed
    assert "solov2-light_r18_fpn_ms-3x_coco" in listed


def test_help_comes_without_torch_and_mmrotate() -> None:
    program = (
        "import sys; from rbox_baselines.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'mmcv', 'mmengine', 'mmdet') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")
    assert all(name in found.stdout for name in ("train", "predict", "evaluate", "results", "info", "publish"))
