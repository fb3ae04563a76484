"""A dataset as a model sees it: after its training pipeline, as pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, draw, files, images
from rbox_formats.errors import RboxError
from rbox_formats.progress import showing, track

from rbox_baselines._parts._records import to_record
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

SHEET = "sheet.png"
SHEET_SIZE = 16


def browse(
    config: Config, out: str | Path, *, limit: int, seed: int = 0, every_step: bool = False, progress: bool = False
) -> list[Path]:
    """Draw the images of a config's training dataset as its pipeline leaves them, with their boxes or masks.

    Args:
        config: A config from `load_config`.
        out: The folder for the pictures: `<image id>.png`, and `sheet.png` of the first 16.
        limit: How many images are drawn, from the first.
        seed: Seed of the pipeline's random numbers.
        every_step: Draws the image after each transform too, as `<image id>-<number>-<transform>.png`.
        progress: Shows progress bars on standard error.

    Returns:
        The files written, the sheet last.

    Raises:
        ConfigError: If the config has no training dataset, it has no images, or the pipeline does not run on one.
        ImageError: If an image cannot be read.
    """
    dataset = _dataset(config)
    names = ClassNames(dataset.metainfo["classes"])
    _seed(seed)
    folder = Path(out)
    paths: list[Path] = []
    pictures: list[Image.Image] = []
    with showing(progress):
        for index in track(range(min(limit, len(dataset))), "drawing"):
            for stage in _stages(dataset, index) if every_step else [_whole(dataset, index)]:
                picture = draw.draw_record(stage.pixels, stage.record, names)
                paths.append(folder / files.safe_name(f"{stage.record.image_id}{stage.suffix}.png", folder))
                for target in (paths[-1], folder / SHEET):
                    files.not_an_input(target, stage.record.path)
                draw.save(picture, paths[-1])
            if len(pictures) < SHEET_SIZE:
                pictures.append(picture)
    draw.save(draw.contact_sheet(pictures), folder / SHEET)
    return [*paths, folder / SHEET]


class _Stage(NamedTuple):
    """An image (height, width, 3) uint8 in RGB, its boxes in pixels, and the end of its file's name."""

    pixels: np.ndarray
    record: ImageRecord
    suffix: str = ""


def _dataset(config: Config) -> Any:
    from rbox_baselines._parts._dataset import opened

    loader = config.get("train_dataloader")
    if not loader:
        raise ConfigError("expected a config with a train_dataloader, got one without")
    return opened(loader.dataset)


def _seed(seed: int) -> None:
    """Of the three that transforms draw with."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _whole(dataset: Any, index: int) -> _Stage:
    """Return an image as the model is given it."""
    with _told(dataset, index):
        return _packed(dataset[index])


def _stages(dataset: Any, index: int) -> Iterator[_Stage]:
    """Yield an image after each transform that leaves one, and last as the model is given it.

    Of a dataset that joins others, which has no single list of transforms, the last alone.
    """
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    if transforms is None:
        yield _whole(dataset, index)
        return
    results = dataset.get_data_info(index)
    for number, transform in enumerate(transforms, start=1):
        with _told(dataset, index):
            results = transform(results)
        if results is None:  # filtered: nothing is left for the model
            return
        if "inputs" in results:
            yield _packed(results)
        elif "img" in results and "gt_bboxes" in results:
            record = _record(results, results["gt_bboxes"], results["gt_bboxes_labels"], results.get("gt_masks"))
            yield _Stage(_as_pixels(results["img"]), record, f"-{number}-{type(transform).__name__}")


def _packed(item: dict[str, Any]) -> _Stage:
    """Return the image and boxes that PackDetInputs packs."""
    sample = item["data_samples"]
    truth = sample.gt_instances
    record = _record(sample.metainfo, truth.bboxes, truth.labels, truth.get("masks"))
    return _Stage(_as_pixels(item["inputs"].permute(1, 2, 0).numpy()), record)


def _record(of: Mapping[str, Any], boxes: Any, labels: Any, masks: Any) -> ImageRecord:
    return to_record(str(of["img_id"]), boxes, labels, masks=masks, path=Path(of["img_path"]))


@contextmanager
def _told(dataset: Any, index: int) -> Iterator[None]:
    """Name the image on which a pipeline fails, and say so where the file is no image."""
    try:
        yield
    except RboxError:
        raise
    except Exception as error:  # of whatever kind: transforms are anyone's
        source = dataset.get_data_info(index)["img_path"]
        images.load(Path(source))  # says what is wrong with the file
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ConfigError(f"expected a pipeline that runs on {source}, got {found}") from error


def _as_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return the image in RGB: cv2, with which mmcv reads, has blue first."""
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8)[..., ::-1])
