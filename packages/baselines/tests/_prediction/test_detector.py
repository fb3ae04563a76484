"""Loading a checkpoint, and where on the image its boxes are: with a model that sees bright pixels and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rbox_baselines import Detector, Views, predict
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines._configs._text import config_from_text
from rbox_baselines._prediction._detector import _resize
from rbox_baselines._prediction._views import Steps
from rbox_baselines.errors import CheckpointError, ConfigError
from rbox_formats import draw, predictions, synthetic
from rbox_formats.detection import Scene
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.sharding import detect_scenes

NAMES = synthetic.CLASS_NAMES


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: ModuleType) -> None:
    pass


class BrightModel:
    """Finds the upright rectangle around what is bright, as MMRotate's models give it: in pixels of the image."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def test_step(self, batch: dict[str, Any]) -> list[Any]:
        found = []
        for pixels, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            self.shapes.append(tuple(pixels.shape))
            rows, columns = torch.nonzero(pixels.float().mean(0) > 128, as_tuple=True)
            boxes = torch.zeros(0, 5)
            if len(rows):
                x0, x1, y0, y1 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
                factor = torch.tensor(sample.scale_factor)
                centre, sides = torch.tensor([x0 + x1, y0 + y1]) / 2, torch.tensor([x1 - x0, y1 - y0])
                boxes = torch.cat([centre / factor, sides / factor, torch.zeros(1)])[None]
            instances = SimpleNamespace(
                bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.int64), scores=torch.full((len(boxes),), 0.9)
            )
            found.append(SimpleNamespace(pred_instances=instances))
        return found


class BrightMasks(BrightModel):
    """Finds what is bright as a mask, as mmdet's models give it: in pixels of the original image."""

    def test_step(self, batch: dict[str, Any]) -> list[Any]:
        found = super().test_step(batch)
        for sample, pixels, given in zip(found, batch["inputs"], batch["data_samples"], strict=True):
            height, width = given.ori_shape
            bright = torch.nn.functional.interpolate(pixels[None].float(), (height, width))[0].mean(0) > 128
            sample.pred_instances.masks = bright[None][: len(sample.pred_instances.labels)]
        return found


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> Detector:
    return Detector.from_checkpoint(checkpoint, device="cpu")


@pytest.fixture
def bright(loaded: Detector) -> Detector:
    return replace(loaded, model=BrightModel())


def scene(width: int = 128, height: int = 96) -> np.ndarray:
    """Black but for a rectangle from (80, 16) to (112, 32)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[16:32, 80:112] = 255
    return pixels


HERE = [96, 24, 32, 16, 0]


@pytest.mark.parametrize("flip", [None, "horizontal", "vertical", "diagonal"])
@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
def test_boxes_are_where_the_object_is_whatever_the_view(flip: str | None, scale: float, bright: Detector) -> None:
    [record] = bright.detect([scene()], flip=flip, scale=scale)
    np.testing.assert_allclose(record.boxes, [HERE], atol=1 / scale)
    side = round(64 * scale)
    assert bright.model.shapes == [(3, side * 3 // 4, side)]


def an_l(width: int = 128, height: int = 96) -> np.ndarray:
    """Black but for an L: no flip of it is the same."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[16:32, 80:88] = pixels[24:32, 80:112] = 255
    return pixels


@pytest.mark.parametrize("flip", [None, "horizontal", "vertical", "diagonal"])
def test_masks_are_where_the_object_is_whatever_the_view(flip: str | None, loaded: Detector) -> None:
    [record] = replace(loaded, model=BrightMasks()).detect([an_l()], flip=flip)
    assert record.masks is not None
    assert (record.masks[0].to_array(128, 96) == (an_l()[..., 0] > 0)).all()
    np.testing.assert_allclose(record.boxes, record.masks.to_rboxes())


def test_masks_of_windows_and_views_are_one_mask_in_the_image(loaded: Detector, tmp_path: Path) -> None:
    """The last windows reach beyond the image, which is brightest at its border."""
    pixels = an_l(120, 90)
    pixels[80:, 60:] = 255
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    detector = replace(loaded, model=BrightMasks())
    views = Views(window=64, gap=40, flips=("horizontal", "diagonal"))
    written = predict(detector, [tmp_path / "scene.png"], tmp_path / "found.jsonl", views=views)
    [record] = predictions.read(written)
    assert record.masks is not None
    assert record.masks.bounds[:, 2:].max() <= 120
    seen = np.zeros((90, 120), bool)
    for mask in record.masks:
        inside = mask.to_array(120, 90)
        assert not (inside & (pixels[..., 0] == 0)).any()
        seen |= inside
    assert seen[16:32, 80:112].sum() == (an_l()[..., 0] > 0).sum()  # the L, whole


def test_colours_come_as_the_model_learnt_them(bright: Detector) -> None:
    """mmcv reads files with blue first; the tensor of a file and of its RGB pixels are the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    inputs = bright._pipeline(1.0)({"img": np.ascontiguousarray(pixels[..., ::-1]), "img_id": 0})["inputs"]
    assert (inputs.numpy() == pixels[..., ::-1].transpose(2, 0, 1)).all()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    draw.save(Image.fromarray(scene(300, 260)), path)
    return path


@pytest.mark.parametrize(
    "views, looks",
    [
        (Views(window=0), 1),
        (Views(window=128, gap=40), 9),
        (Views(window=128, gap=40, flips=("horizontal", "diagonal"), scales=(1.0, 0.5)), 54),
    ],
)
def test_one_object_is_one_box_in_the_image(
    views: Views, looks: int, bright: Detector, image: Path, tmp_path: Path
) -> None:
    out = predict(bright, [image], tmp_path / "found.jsonl", views=views, batch_size=4)
    [record] = predictions.read(out)
    assert (record.width, record.height) == (300, 260)
    np.testing.assert_allclose(record.boxes, [HERE], atol=5)
    assert len(bright.model.shapes) == looks


def test_large_images_are_looked_at_in_windows_unless_told_otherwise(
    bright: Detector, image: Path, tmp_path: Path
) -> None:
    """What is not more than twice as large as what the model sees is shrunk."""
    small = tmp_path / "small.png"
    draw.save(Image.fromarray(scene(128, 100)), small)
    predict(bright, [small], tmp_path / "small.jsonl")
    assert len(bright.model.shapes) == 1
    predict(bright, [image], tmp_path / "found.jsonl")
    assert len(bright.model.shapes) == 1 + 6 * 5  # 64 px each, 52 apart


def test_a_file_is_gone_on_with_and_belongs_to_one_run(bright: Detector, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    predict(bright, [image], out, views=Views(window=0))
    other = tmp_path / "other.png"
    draw.save(Image.fromarray(scene()), other)
    predict(bright, [image, other], out, views=Views(window=0))
    assert len(bright.model.shapes) == 3  # the first again: its batch is what it would have been
    predict(bright, [image, other], out, views=Views(window=0))
    assert len(bright.model.shapes) == 3
    assert [record.image_id for record in predictions.read(out)] == ["scene", "other"]
    with pytest.raises(PredictionsError, match="generation"):
        predict(bright, [image], out, views=Views(window=0, score_threshold=0.3))


class BreakingScene(Scene):
    """An image whose file ends in the middle."""

    def crops(self, numbers: range | None = None) -> Iterator[tuple[int, np.ndarray]]:
        for number, crop in super().crops(numbers):
            if number == 5:
                raise ImageError(f"{self.image_id}: expected a whole image")
            yield number, crop


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_windows_of_several_images_share_batches(batch_size: int, bright: Detector) -> None:
    """Each image's boxes are where they are alone; a broken one leaves the others as they are."""
    views = Views(window=64, gap=16)

    def made(kind: type[Scene], name: str, width: int) -> Scene:
        return kind.of(scene(width, 100), lambda *size: views.windows(*size, 64), name)

    scenes = [made(Scene, "a", 140), made(BreakingScene, "b", 300), made(Scene, "c", 190), made(Scene, "d", 64)]
    broken: list[str] = []
    steps = Steps(bright, views, 64, batch_size)
    found = list(detect_scenes(steps, scenes, on_broken=lambda scene, _: broken.append(scene.image_id)))
    assert broken == ["b"]
    assert [each.image_id for each in found] == ["a", "c", "d"]
    sizes = [len(each.windows) for each in scenes]
    for each, one in zip(found, (scenes[0], *scenes[2:]), strict=True):
        (alone,) = detect_scenes(Steps(bright, views, 64, 1), [one])
        np.testing.assert_array_equal(each.boxes, alone.boxes)
    with pytest.raises(ImageError, match="b: expected a whole image"):
        list(detect_scenes(steps, scenes))
    assert sizes == [6, 12, 8, 2]


def test_scores_below_the_threshold_are_left_out(bright: Detector) -> None:
    assert len(bright.detect([scene()], score_threshold=0.89)[0]) == 1
    assert len(bright.detect([scene()], score_threshold=0.91)[0]) == 0


def test_a_broken_image_is_named(bright: Detector, image: Path, tmp_path: Path) -> None:
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"scene\.png: expected a whole image"):
        predict(bright, [image], tmp_path / "found.jsonl")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"flips": ("sideways",)}, "expected flips among horizontal, vertical, diagonal, got 'sideways'"),
        ({"scales": (0.0,)}, "expected scales above 0"),
        ({"window": 100, "gap": 100}, "expected a gap of 0 px or more, below the window's side of 100 px, got 100"),
        ({"score_threshold": 1.5}, "expected a score threshold from 0 to 1, got 1.5"),
    ],
)
def test_views_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Views(**settings)


def test_the_weights_are_those_of_the_file(loaded: Detector, checkpoint: Path) -> None:
    weights = read_checkpoint(checkpoint)["state_dict"]
    own = loaded.model.state_dict()
    assert set(own) == set(weights)
    assert all(torch.equal(own[name], weights[name]) for name in weights)
    assert not loaded.model.training


def test_it_detects_what_mmengines_own_test_loop_detects(loaded: Detector, checkpoint: Path, scenes: Path) -> None:
    """The pipeline from files, mmengine's loader and the model's test step, on the same images."""
    from mmdet.registry import DATASETS
    from mmengine.config import Config

    config = Config.fromstring(read_checkpoint(checkpoint)["meta"]["cfg"], ".py")
    dataset = DATASETS.build(config.test_dataloader.dataset)
    for number in range(len(dataset)):
        item = dataset[number]
        path = Path(item["data_samples"].img_path)
        with torch.inference_mode():
            [sample] = loaded.model.test_step({name: [value] for name, value in item.items()})
        [record] = loaded.detect([np.asarray(Image.open(path).convert("RGB"))])
        instances = sample.pred_instances
        order = np.argsort(-instances.scores.numpy(), kind="stable")
        assert record.scores is not None
        np.testing.assert_array_equal(record.scores, instances.scores.numpy()[order].astype(np.float64))
        np.testing.assert_array_equal(record.labels, instances.labels.numpy()[order])


def changed(checkpoint: Path, path: Path, **changes: Any) -> Path:
    saved = read_checkpoint(checkpoint)
    for name, change in changes.items():
        change(saved[name])
    torch.save(saved, path)
    return path


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"meta": lambda meta: meta.pop("cfg")}, "expected a checkpoint that carries its config"),
        ({"meta": lambda meta: meta.update(cfg="import os")}, "it was not run"),
        ({"meta": lambda meta: meta.update(cfg="model = dict(type='os.mkdir', path='made')")}, "got 'os.mkdir'"),
        ({"state_dict": lambda weights: weights.popitem()}, "expected the weights of this model, got none for 1 of"),
        (
            {"state_dict": lambda weights: weights.update({"backbone.conv1.weight": torch.zeros(3, 3)})},
            r"1 of other shapes, such as backbone.conv1.weight \(3, 3\) for \(8, 3, 7, 7\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
    changes: dict[str, Any], message: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        Detector.from_checkpoint(changed(checkpoint, tmp_path / "changed.pth", **changes))
    assert [path.name for path in tmp_path.iterdir()] == ["changed.pth"]


class Smuggler(torch.nn.Module):
    """A part that makes a name for the registry of another setting, as some of mmdet's do."""

    def __init__(self, norm: str) -> None:
        from mmdet.registry import MODELS

        super().__init__()
        MODELS.build({"type": norm, "path": "made"})


@pytest.mark.parametrize("norm", ["os.mkdir", 3])
def test_what_parts_make_of_their_settings_is_not_imported_either(
    norm: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmrotate.registry import MODELS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Smuggler, "__module__", "rbox_baselines._parts")
    MODELS.register_module(module=Smuggler, force=True)
    config = config_from_text(read_checkpoint(checkpoint)["meta"]["cfg"])
    config.model.neck = {"type": "Smuggler", "norm": norm}
    path = changed(checkpoint, tmp_path / "changed.pth", meta=lambda meta: meta.update(cfg=config.pretty_text))
    with pytest.raises(ConfigError, match="expected a config from which a model can be built, got"):
        Detector.from_checkpoint(path)
    assert [path.name for path in tmp_path.iterdir()] == ["changed.pth"]


def test_what_a_config_packs_of_annotations_is_not_asked_for(loaded: Detector) -> None:
    """The COCO configs of the zoo pack `instances`."""
    config = loaded.config.copy()
    config.test_dataloader.dataset.pipeline[-1]["meta_keys"] = ("img_id", "instances")
    [record] = replace(loaded, config=config, model=BrightModel()).detect([scene()])
    np.testing.assert_allclose(record.boxes, [HERE], atol=1)


def test_a_preset_can_be_named_beside_the_checkpoint(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the weights of this model"):
        Detector.from_checkpoint(checkpoint, "rotated-retinanet-dior-r-800", device="cpu")


def test_a_config_can_be_named_beside_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    path = changed(checkpoint, tmp_path / "bare.pth", meta=lambda meta: meta.pop("cfg"))
    with pytest.raises(CheckpointError, match="expected the weights of this model"):
        Detector.from_checkpoint(path, "rotated-retinanet-rbox-le90_r50_fpn_1x_dota", device="cpu")


def test_the_size_is_that_of_the_first_resize_of_fixed_scale() -> None:
    others = [{"type": "Crop", "scale": (3, 3)}, {"type": "Resize", "scale_factor": 0.5}]
    fixed = {"type": "Resize", "scale": (64, 64)}
    assert _resize([*others, fixed, {"type": "Resize", "scale": (9, 9)}]) is fixed
    with pytest.raises(ConfigError, match="expected a test pipeline with a Resize of fixed scale"):
        _resize(others)
