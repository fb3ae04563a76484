"""Datasets of rbox_formats in mmengine: against MMRotate's own DOTADataset on the same files."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from PIL import Image
from rbox_baselines.errors import ConfigError
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


def test_the_metric_has_all_images_those_without_a_file_too(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(scenes, tmp_path / "data"))
    gone = sorted((root / "train" / "images").iterdir())[0]
    gone.unlink()
    scored = of_ours(root, "train", test_mode=True)
    assert len(scored) == 5
    known = scored.metainfo["records"]
    assert [name for name, record in known.items() if record.path is None] == [gone.stem]
    assert len(known) == 6
    assert "records" not in of_ours(root, "train").metainfo


def with_masks(root: Path) -> Path:
    """Two images with an upright square with a hole, a slanted polygon, a crowd, and an object outside the image."""
    (root / "images").mkdir(parents=True)
    annotations = [
        {"segmentation": pycocotools.mask.encode(np.asfortranarray(RING)), "category_id": 1},
        {"segmentation": [[40, 10, 60, 20, 55, 30, 35, 20]], "category_id": 2},
        {"segmentation": {"size": [48, 64], "counts": [48 * 50, 48 * 14]}, "category_id": 2, "iscrowd": 1},
        {"segmentation": [[70, 10, 80, 10, 80, 20, 70, 20]], "category_id": 1},
    ]
    annotations[0]["segmentation"]["counts"] = annotations[0]["segmentation"]["counts"].decode()
    for place, annotation in enumerate(annotations):
        annotation |= {"id": place + 1, "image_id": 1, "iscrowd": annotation.get("iscrowd", 0)}
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in (1, 2)]
    for image in images:
        Image.new("RGB", (64, 48)).save(root / "images" / image["file_name"])
    categories = [{"id": 1, "name": "plane"}, {"id": 2, "name": "ship"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_all.json").write_text(json.dumps(content))
    return root


RING = np.zeros((48, 64), np.uint8)
RING[5:25, 4:24] = 1
RING[10:20, 9:19] = 0
MASKED: list[dict[str, Any]] = [
    {"type": "mmdet.LoadImageFromFile"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True},
    {"type": "mmdet.PackDetInputs", "meta_keys": ("img_id",)},
]


@pytest.mark.parametrize("form", ["pixels", "outlines"])
def test_masks_as_mmdets_own_pipeline_reads_them(form: str, mmrotate: ModuleType, tmp_path: Path) -> None:
    root, pipeline = with_masks(tmp_path), copy.deepcopy(MASKED)
    pipeline[1]["poly2mask"] = form == "pixels"
    dataset = built({
        "type": "RBoxDataset", "format": "coco", "root": str(root), "split": None, "masks": form,
        "metainfo": {"classes": ("plane", "ship")}, "pipeline": pipeline,
    })  # fmt: skip
    sample = dataset[0]["data_samples"]
    found = sample.gt_instances
    assert found.labels.tolist() == [0, 1]
    assert found.bboxes.tensor.tolist() == [[4, 5, 24, 25], [35, 10, 60, 30]]
    assert sample.ignored_instances.labels.tolist() == [1]  # a crowd is not learnt
    pixels = found.masks.to_ndarray()
    polygon = pycocotools.mask.frPyObjects([[40, 10, 60, 20, 55, 30, 35, 20]], 48, 64)
    assert (pixels[1] == pycocotools.mask.decode(polygon)[..., 0]).all()
    filled = np.maximum(RING, 0)
    if form == "outlines":  # which have no holes
        filled[5:25, 4:24] = 1
    assert (pixels[0] == filled).all()


def test_objects_without_masks_have_those_of_their_quads(mmrotate: ModuleType, scenes: Path) -> None:
    dataset = of_ours(scenes, "train", masks="pixels", pipeline=MASKED)
    records = list(datasets.read("dota", scenes, "train", NAMES))
    for index, record in enumerate(records):
        pixels = dataset[index]["data_samples"].gt_instances.masks.masks
        for mask, quad in zip(pixels, record.corners, strict=True):
            own = pycocotools.mask.decode(pycocotools.mask.frPyObjects([quad.ravel().tolist()], 64, 64))[..., 0]
            assert np.abs(mask.astype(int) - own).sum() <= 2 * 64  # cut at the border by lines, not by pixels


def test_an_unknown_form_of_masks_is_refused(mmrotate: ModuleType, scenes: Path) -> None:
    with pytest.raises(ConfigError, match="expected masks as one of pixels, outlines, got 'bitmaps'"):
        of_ours(scenes, "train", masks="bitmaps")


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
