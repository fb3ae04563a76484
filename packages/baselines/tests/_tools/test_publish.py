from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines._tools._publish import publish

DATA = Path(__file__).parents[1] / "data"
META = {
    "cfg": "model = dict()",
    "dataset_meta": {"classes": ("plane",)},
    "epoch": 12,
    "env_info": "host",
    "hook_msgs": {},
}


def save(path: Path, **changed: object) -> Path:
    weights = {"a.weight": torch.arange(3.0), "part": torch.zeros(10**5)[:2]}
    torch.save({"state_dict": weights, "meta": META, "optimizer": {"state": torch.zeros(50)}, **changed}, path)
    return path


def test_weights_classes_and_config_stay_and_nothing_else(tmp_path: Path) -> None:
    source = save(tmp_path / "epoch_12.pth", message_hub={}, param_schedulers=[])
    before = source.read_bytes()
    published = publish(source, tmp_path / "out")
    found = torch.load(published.path, weights_only=True)  # without anything allowed by name
    assert set(found) == {"state_dict", "meta"}
    assert found["meta"] == {"cfg": "model = dict()", "dataset_meta": {"classes": ("plane",)}, "epoch": 12}
    assert found["state_dict"]["a.weight"].tolist() == [0, 1, 2]
    assert set(published.dropped) == {"optimizer", "message_hub", "param_schedulers", "meta.env_info", "meta.hook_msgs"}
    assert not published.is_average
    assert published.size == published.path.stat().st_size < 5000  # not with all of the part's storage
    assert source.read_bytes() == before
    assert list((tmp_path / "out").iterdir()) == [published.path]


@pytest.mark.parametrize(
    "source, out, stem",
    [
        ("epoch_12.pth", "out", "out/epoch_12"),
        ("epoch_12.pth", "out/rotated-fcos.pth", "out/rotated-fcos"),
        ("rotated-fcos-0123abcd.pth", "out", "out/rotated-fcos"),
        ("epoch_12.pth", "out/rotated-fcos-0123abcd.pth", "out/rotated-fcos"),
        ("v1.5.pth", "v1.5", "v1.5/v1.5"),
    ],
)
def test_the_name_has_the_hash(tmp_path: Path, source: str, out: str, stem: str) -> None:
    path = publish(save(tmp_path / source), tmp_path / out).path
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path == tmp_path / f"{stem}-{digits}.pth"


def test_the_same_weights_get_the_same_name(tmp_path: Path) -> None:
    first = publish(save(tmp_path / "a.pth"), tmp_path / "one")
    second = publish(save(tmp_path / "b.pth", optimizer={}), tmp_path / "two" / "a.pth")
    assert first.path.name == second.path.name
    again = publish(first.path, tmp_path / "one")
    assert (again.path, again.dropped) == (first.path, ())


def test_the_average_is_published(tmp_path: Path) -> None:
    """Of a run of mmengine with its EMAHook, which `data/run.py` made."""
    published = publish(DATA / "run" / "epoch_4.pth", tmp_path)
    weights = json.loads((DATA / "run.json").read_text())
    assert published.is_average
    assert set(published.dropped) == {"ema_state_dict", "optimizer", "message_hub", "param_schedulers"}
    found = torch.load(published.path, weights_only=True)
    assert found["state_dict"]["layer.weight"].item() == weights["average"] != weights["last"]
    assert found["meta"]["epoch"] == 4


def test_the_average_of_mmcv_is_published(tmp_path: Path) -> None:
    weights = {"a.weight": torch.ones(1), "ema_a_weight": torch.zeros(1)}
    published = publish(save(tmp_path / "a.pth", state_dict=weights), tmp_path)
    assert published.is_average
    assert list(read_checkpoint(published.path)["state_dict"]) == ["a.weight"]
