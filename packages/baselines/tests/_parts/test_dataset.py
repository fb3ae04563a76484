"""Datasets of rbox_formats in mmengine: against MMRotate's own DOTADataset on the same files."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rbox_formats import datasets, synthetic

NAMES = synthetic.CLASS_NAMES
PIPELINE: list[dict[str, Any]] = [
    {"type": "mmdet.LoadImageFromFile"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "box_type": "qbox"},
    {"type": "ConvertBoxType", "box_type_mapping": {"gt_bboxes": "rbox"}},
    {"type": "mmdet.Resize", "scale": (96, 96), "keep_ratio": True},
    {"type": "mmdet.PackDetInputs", "meta_keys": ("img_id",)},
]


def built(settings: dict[str, Any]) -> Any:
    from mmrotate.registry import DATASETS

    dataset = DATASETS.build({"metainfo": {"classes": tuple(NAMES)}, "pipeline": PIPELINE, **settings})
    dataset.full_init()
    return dataset


def of_ours(root: Path, split: str, **settings: Any) -> Any:
    return built({"type": "RBoxDataset", "format": "dota", "root": str(root), "split": split, **settings})


def test_it_gives_what_mmrotates_own_gives(mmrotate: ModuleType, scenes: Path) -> None:
    places = {"ann_file": "train/labelTxt/", "data_prefix": {"img_path": "train/images/"}}
    theirs = built({"type": "DOTADataset", "data_root": str(scenes), **places})
    ours = of_ours(scenes, "train")
    assert len(ours) == len(theirs) == 6
    by_id = {theirs.get_data_info(i)["img_id"]: i for i in range(len(theirs))}
    for i in range(len(ours)):
        info, other = ours.get_data_info(i), theirs.get_data_info(by_id[ours.get_data_info(i)["img_id"]])
        assert [each["bbox_label"] for each in info["instances"]] == [each["bbox_label"] for each in other["instances"]]
        np.testing.assert_allclose(
            [each["bbox"] for each in info["instances"]], [each["bbox"] for each in other["instances"]]
        )
        item, witness = ours[i], theirs[by_id[info["img_id"]]]
        assert (item["inputs"] == witness["inputs"]).all()
        for name in ("bboxes", "labels"):
            one, two = (getattr(each["data_samples"].gt_instances, name) for each in (item, witness))
            assert (getattr(one, "tensor", one) == getattr(two, "tensor", two)).all()


def difficult_scenes(scenes: Path, root: Path) -> Path:
    """The first scene's objects made difficult, the second's taken away."""
    (root / "train").mkdir(parents=True)
    (root / "train" / "images").symlink_to(scenes / "train" / "images")
    records = list(datasets.read("dota", scenes, "train", NAMES))
    from dataclasses import replace

    records[0] = replace(records[0], difficult=np.ones(len(records[0]), dtype=bool))
    records[1] = records[1].select(np.zeros(len(records[1]), dtype=bool))
    datasets.write("dota", records, root, "train", NAMES)
    return root


def test_difficult_objects_are_learnt_and_do_not_count_in_scores(
    mmrotate: ModuleType, scenes: Path, tmp_path: Path
) -> None:
    root = difficult_scenes(scenes, tmp_path / "data")
    learnt, scored = of_ours(root, "train"), of_ours(root, "train", test_mode=True)
    assert {each["ignore_flag"] for each in learnt.get_data_info(0)["instances"]} == {0}
    assert {each["ignore_flag"] for each in scored.get_data_info(0)["instances"]} == {1}
    assert {each["ignore_flag"] for each in scored.get_data_info(2)["instances"]} == {0}


@pytest.mark.parametrize(
    "settings, count",
    [
        ({}, 6),
        ({"filter_cfg": {"filter_empty_gt": True}}, 5),
        ({"filter_cfg": {"filter_empty_gt": True}, "test_mode": True}, 6),
    ],
)
def test_images_without_objects(
    settings: dict[str, Any], count: int, mmrotate: ModuleType, scenes: Path, tmp_path: Path
) -> None:
    assert len(of_ours(difficult_scenes(scenes, tmp_path / "data"), "train", **settings)) == count


def test_images_without_a_file_are_kept_for_the_metric(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(scenes, tmp_path / "data"))
    gone = sorted((root / "train" / "images").iterdir())[0]
    gone.unlink()
    scored = of_ours(root, "train", test_mode=True)
    assert len(scored) == 5
    assert [record.image_id for record in scored.metainfo["without_file"]] == [gone.stem]
    assert "without_file" not in of_ours(root, "train").metainfo


def test_objects_of_classes_that_are_left_out_are_passed_over(mmrotate: ModuleType, scenes: Path) -> None:
    classes = {"classes": tuple(NAMES[:-1])}
    dataset = of_ours(scenes, "train", metainfo=classes, left_out=NAMES[-1:])
    records = list(datasets.read("dota", scenes, "train", NAMES))
    assert any((record.labels == len(NAMES) - 1).any() for record in records)
    assert [dataset.get_cat_ids(i) for i in range(6)] == [
        [label for label in record.labels if label < len(NAMES) - 1] for record in records
    ]


def test_classes_of_an_image(mmrotate: ModuleType, scenes: Path) -> None:
    dataset = of_ours(scenes, "train")
    records = list(datasets.read("dota", scenes, "train", NAMES))
    assert [dataset.get_cat_ids(i) for i in range(6)] == [record.labels.tolist() for record in records]
