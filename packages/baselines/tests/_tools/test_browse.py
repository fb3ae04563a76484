from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_baselines._tools._browse import browse
from rbox_baselines.errors import ConfigError
from rbox_formats import ImageRecord, RboxError, datasets, draw
from rbox_formats.synthetic import CLASS_NAMES as NAMES
from rbox_testing.small_retinanet import SMALL, ZOO_NAME


def config_of(root: Path, **options: Any) -> Any:
    from rbox_baselines import Data, load_config

    data = Data(str(root))
    return load_config(ZOO_NAME, data=data, class_names=NAMES, image_size=64, options={**SMALL, **options})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, ImageRecord]]:
    """What is drawn: pixels and boxes."""
    found: list[tuple[np.ndarray, ImageRecord]] = []
    original = draw.draw_record

    def draw_record(pixels: Any, record: ImageRecord, names: Any) -> Any:
        found.append((pixels, record))
        return original(pixels, record, names)

    monkeypatch.setattr(draw, "draw_record", draw_record)
    return found


def test_images_and_boxes_as_the_model_gets_them(
    mmrotate: ModuleType, scenes: Path, tmp_path: Path, drawn: list
) -> None:
    *pictures, sheet = browse(config_of(scenes), tmp_path, limit=4)
    truth = {record.image_id: record for record in datasets.read("dota", scenes, "train", NAMES)}
    assert [path.stem for path in pictures] == list(truth)[:4]
    assert sheet == tmp_path / "sheet.png"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in [*pictures, sheet]}
    flipped = 0
    for pixels, record in drawn:
        annotated = truth[record.image_id]
        original = np.asarray(Image.open(annotated.file))
        # The pipeline flips by chance, and does nothing else at this size: the image is one of the mirrored ones (in
        # RGB as in the file), and the boxes' centres are mirrored with it.
        mirrored = {(x, y): original[::y, ::x] for x in (1, -1) for y in (1, -1)}
        [(x, y)] = [flip for flip, image in mirrored.items() if np.array_equal(image, pixels)]
        flipped += (x, y) != (1, 1)
        centres = annotated.boxes[:, :2].copy()
        for axis, direction in enumerate((x, y)):
            if direction < 0:
                centres[:, axis] = 64 - centres[:, axis]
        np.testing.assert_allclose(record.boxes[:, :2], centres, atol=0.01)
        assert record.labels.tolist() == annotated.labels.tolist()
    assert flipped


@pytest.mark.slow
def test_the_seed_is_of_what_is_done_by_chance(mmrotate: ModuleType, scenes: Path, tmp_path: Path, drawn: list) -> None:
    config = config_of(scenes)
    for seed in (1, 1, 2, 3):
        browse(config, tmp_path / str(seed), limit=6, seed=seed)
    first, again, *others = (np.stack([pixels for pixels, _ in drawn[6 * i : 6 * i + 6]]) for i in range(4))
    np.testing.assert_array_equal(first, again)
    assert any((first != other).any() for other in others)


def test_every_step(mmrotate: ModuleType, scenes: Path, tmp_path: Path, drawn: list) -> None:
    *pictures, _ = browse(config_of(scenes), tmp_path, limit=1, every_step=True)
    name = next(iter(datasets.read("dota", scenes, "train", NAMES))).image_id
    assert [path.stem for path in pictures] == [
        f"{name}-2-LoadAnnotations",
        f"{name}-3-ConvertBoxType",
        f"{name}-4-Resize",
        f"{name}-5-RandomFlip",
        name,
    ]
    assert drawn[0][1].quads is not None  # as annotated
    assert drawn[-1][1].quads is None
    np.testing.assert_array_equal(drawn[-1][0], drawn[-2][0])


def copy_of(scenes: Path, root: Path) -> tuple[Path, list[Path]]:
    import shutil

    shutil.copytree(scenes, root)
    return root, sorted((root / "train" / "images").iterdir())


def test_no_picture_takes_an_image_s_place(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    root, [first, *_] = copy_of(scenes, tmp_path / "data")
    before = first.read_bytes()
    with pytest.raises(RboxError, match="this one is read"):
        browse(config_of(root), first.parent, limit=1)
    assert first.read_bytes() == before


def test_an_image_that_cannot_be_read_is_named(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    root, [_, second, *_] = copy_of(scenes, tmp_path / "data")
    second.write_bytes(second.read_bytes()[:200])
    with pytest.raises(RboxError, match=second.name):
        browse(config_of(root), tmp_path / "out", limit=3)


def test_a_pipeline_that_fails_is_named_with_the_image(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    config = config_of(scenes)
    config.train_dataloader.dataset.pipeline.insert(1, {"type": "mmdet.RandomCrop", "crop_size": (8, 8)})
    del config.train_dataloader.dataset.pipeline[0]
    for every_step in (False, True):
        with pytest.raises(ConfigError, match=r"expected a pipeline that runs on .*\.png, got \w+Error"):
            browse(config, tmp_path / "out", limit=1, every_step=every_step)


def test_a_dataset_without_objects(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    root, _ = copy_of(scenes, tmp_path / "data")
    for path in (root / "train" / "labelTxt").iterdir():
        path.write_text("")
    with pytest.raises(RboxError, match="expected images with objects in the split 'train', got none"):
        browse(config_of(root), tmp_path / "out", limit=1)


def test_a_config_without_training(mmrotate: ModuleType, scenes: Path, tmp_path: Path) -> None:
    config = config_of(scenes)
    config.train_dataloader = None
    with pytest.raises(ConfigError, match="expected a config with a train_dataloader"):
        browse(config, tmp_path, limit=1)
