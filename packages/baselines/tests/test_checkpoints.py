from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_baselines._checkpoints import check_classes, class_names_of, number_of_classes, read_checkpoint
from rbox_baselines.errors import CheckpointError

DATA = Path(__file__).parent / "data"


class Reduced:
    """Pickled as a call of a function."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple:
        return self.reduced


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "as MMRotate 0.x"])
def test_reads_what_a_runner_saves(tmp_path: Path, zipped: bool) -> None:
    from mmengine.logging.history_buffer import HistoryBuffer

    path = tmp_path / "epoch_1.pth"
    hub = {"log_scalars": {"train/loss": HistoryBuffer([1.0, 0.5], [1, 1])}, "runtime_info": {}}
    saved = {"state_dict": {"a.weight": torch.ones(2)}, "meta": {"epoch": 1}, "message_hub": hub}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert found["state_dict"]["a.weight"].tolist() == [1, 1]
    assert found["message_hub"]["log_scalars"]["train/loss"].mean() == 0.75


def test_reads_a_run_of_mmengine() -> None:
    """`data/run.py` made it."""
    found = read_checkpoint(DATA / "run" / "epoch_4.pth")
    assert set(found) >= {"state_dict", "meta", "optimizer", "message_hub", "param_schedulers", "ema_state_dict"}
    assert found["meta"]["epoch"] == 4
    losses = found["message_hub"]["log_scalars"]["train/loss"]
    assert losses.mean(10) == pytest.approx(2.9575370073318483)  # as the log has it


def test_reads_bare_weights(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "resnet50.pth")
    assert read_checkpoint(tmp_path / "resnet50.pth")["state_dict"]["a.weight"].tolist() == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_checkpoint_asks_for_is_named_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "epoch_1.pth"
    saved = {"state_dict": {"a": torch.ones(2)}, "meta": Reduced(os.system, (f"touch {tmp_path / 'ran'}",))}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"epoch_1.pth: .* asks for (posix|nt)\.system\nNothing of it was run"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["update", "__init__", "__class__", "_statistics_methods"])
def test_of_the_history_only_its_means_are_given(tmp_path: Path, name: str) -> None:
    from mmengine.logging.history_buffer import HistoryBuffer

    saved = {"state_dict": {"a": torch.ones(2)}, "meta": Reduced(getattr, (HistoryBuffer, name))}
    torch.save(saved, tmp_path / "epoch_1.pth")
    with pytest.raises(CheckpointError, match="got one that asks for getattr"):
        read_checkpoint(tmp_path / "epoch_1.pth")


@pytest.mark.parametrize(
    "saved, message",
    [
        (None, "expected a checkpoint file, got none"),
        (b"", "got a file that cannot be read"),
        (b"not a checkpoint", "got a file that cannot be read"),
        (b"PK\x03\x04 not a checkpoint", "got a file that cannot be read"),
        ([torch.ones(2)], "got a file without weights"),
        ({}, "got a file without weights"),
        ({"state_dict": {}}, "got a file without weights"),
        ({"state_dict": {"a": 1}}, "got a file without weights"),
        ({"state_dict": torch.ones(2)}, "got a file without weights"),
        ({"epoch": 1}, "got a file without weights"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, saved: Any, message: str) -> None:
    path = tmp_path / "epoch_1.pth"
    if isinstance(saved, bytes):
        path.write_bytes(saved)
    elif saved is not None:
        torch.save(saved, path)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "meta, names",
    [
        ({"dataset_meta": {"classes": ("plane", "ship")}}, ("plane", "ship")),
        ({"dataset_meta": {"CLASSES": ["plane", "ship"]}}, ("plane", "ship")),
        ({"CLASSES": ("plane",)}, ("plane",)),
        ({"CLASSES": "ship"}, ("ship",)),
        ({"dataset_meta": None}, None),
        ({}, None),
        (None, None),
        ("text", None),
    ],
)
def test_the_classes_that_a_checkpoint_names(meta: Any, names: tuple[str, ...] | None) -> None:
    assert class_names_of({"meta": meta}) == names


def layers(**rows: int) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): torch.zeros(count, 4, 1, 1) for name, count in rows.items()}


# Rows as mmdet 3.1.0 and MMRotate 1.0.0rc1 make them for 15 classes.
HEADS = {
    "RetinaNet, 9 anchors": (
        layers(bbox_head__retina_cls__weight=135, bbox_head__retina_reg__weight=45, bbox_head__retina_cls__bias=135),
        ("bbox_head.retina_cls", 15),
    ),
    "R3Det, the first of three": (
        layers(
            bbox_head_init__retina_cls__weight=315,
            bbox_head_init__retina_reg__weight=105,
            bbox_head_refine__0__retina_cls__weight=15,
            bbox_head_refine__0__retina_reg__weight=5,
        ),
        ("bbox_head_init.retina_cls", 15),
    ),
    "an angle of its own": (
        layers(
            bbox_head__retina_cls__weight=135,
            bbox_head__retina_reg__weight=45,
            bbox_head__retina_angle_cls__weight=1620,
        ),
        ("bbox_head.retina_cls", 15),
    ),
    "FCOS": (
        layers(
            bbox_head__cls_convs__0__conv__weight=256, bbox_head__conv_cls__weight=15, bbox_head__conv_reg__weight=4
        ),
        ("bbox_head.conv_cls", 15),
    ),
    "RTMDet": (layers(bbox_head__rtm_cls__0__weight=15), ("bbox_head.rtm_cls.0", 15)),
    "RepPoints": (layers(bbox_head_init__reppoints_cls_out__weight=15), ("bbox_head_init.reppoints_cls_out", 15)),
    "Faster R-CNN": (
        layers(
            rpn_head__rpn_cls__weight=3, roi_head__bbox_head__fc_cls__weight=16, roi_head__bbox_head__fc_reg__weight=5
        ),
        ("roi_head.bbox_head.fc_cls", 15),
    ),
    "RoI Transformer": (layers(roi_head__bbox_head__0__fc_cls__weight=16), ("roi_head.bbox_head.0.fc_cls", 15)),
    "a backbone": (layers(layer1__0__conv1__weight=64), None),
    "rows that fit no anchors": (layers(bbox_head__retina_cls__weight=16, bbox_head__retina_reg__weight=45), None),
    "nothing beside": (layers(bbox_head__retina_cls__weight=135), None),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_number_of_classes_by_the_rows(name: str) -> None:
    weights, expected = HEADS[name]
    assert number_of_classes(weights) == expected


FOUND = {"dataset_meta": {"classes": ("plane", "small-vehicle")}}


@pytest.mark.parametrize(
    "meta, names",
    [
        (FOUND, ("plane", "small-vehicle")),
        (FOUND, ("Plane", "small vehicle")),
        ({}, tuple(f"class {i}" for i in range(15))),
    ],
)
def test_classes_that_fit(meta: dict, names: tuple[str, ...]) -> None:
    weights, _ = HEADS["FCOS"]
    check_classes({"meta": meta, "state_dict": weights}, names)


def test_a_backbone_fits_all_classes() -> None:
    check_classes({"state_dict": HEADS["a backbone"][0]}, ["plane"])


@pytest.mark.parametrize(
    "meta, names, message",
    [
        (
            FOUND,
            ("plane", "ship"),
            r"a.pth: expected a checkpoint of the 2 classes plane, ship; "
            r"got one of the 2 classes plane, small-vehicle\n"
            r"Name the checkpoint's classes.*--class-names",
        ),
        (FOUND, ("small-vehicle", "plane"), "classes plane, small-vehicle, in another order"),
        (FOUND, ("plane",), "the 1 classes plane; got one of the 2 classes"),
        ({}, ("plane", "ship"), "got one of 15 classes without names, by its layer bbox_head.conv_cls"),
    ],
)
def test_classes_that_differ_are_both_named(meta: dict, names: tuple[str, ...], message: str) -> None:
    weights, _ = HEADS["FCOS"]
    with pytest.raises(CheckpointError, match=message):
        check_classes({"meta": meta, "state_dict": weights}, names, path="a.pth")


@pytest.mark.slow
@pytest.mark.variant
def test_the_number_of_classes_of_each_model_of_the_zoo(mmrotate: ModuleType) -> None:
    from mmdet.registry import MODELS
    from rbox_baselines._configs import _load, _quiet, _weights, _zoo

    seen = set()
    for name in _zoo.zoo():
        config = _weights.without_pretrained(_load.load(name))
        _load.set_num_classes(config.model, 7)
        if str(config.model) in seen:
            continue
        seen.add(str(config.model))
        with _quiet.quiet():
            found = number_of_classes(MODELS.build(config.model).state_dict())
        assert found is not None, name
        assert found[1] == 7, name
    assert len(seen) > 50
