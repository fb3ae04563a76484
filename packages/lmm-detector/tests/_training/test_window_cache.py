"""Windows that are kept beside a run: the same pixels, the same losses, nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lmm_detector import TrainConfig, train
from lmm_detector._training._window_cache import WindowCache, direct, window_cache
from PIL import Image
from rbox_formats import tiling
from rbox_formats.errors import ImageError

GIB = 2**30


def noise(path: Path, side: int, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def places(tmp_path: Path) -> list[tuple[Path, tiling.Window]]:
    """Two images of nine windows each, which reach beyond the border, and one of one window."""
    large = [noise(tmp_path / f"{seed}.png", 150, seed) for seed in range(2)]
    several = [(path, window) for path in large for window in tiling.windows(150, 150, 64, 16)]
    return [*several, (noise(tmp_path / "small.png", 40), tiling.windows(40, 40, 64, 16)[0])]


# All as plain pixels; none but as WebP; one image and not the other.
ALL = 18 * 3 * 64**2 / GIB


@pytest.mark.parametrize(
    "limit, suffix, images", [(32, ".tif", 2), (0.5 * ALL, ".webp", 2), (0.3 * ALL, ".webp", 1), (0, ".webp", 0)]
)
def test_windows_are_the_images(
    limit: float, suffix: str, images: int, places: list[tuple[Path, tiling.Window]], tmp_path: Path
) -> None:
    cache = window_cache(places, tmp_path / "run", limit)
    assert len(cache.cuts) == images
    for _ in range(2):  # cut, and read
        for path, window in reversed(places):
            np.testing.assert_array_equal(cache.pixels(path, window), direct(path, window))
    kept = [path for path in cache.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(kept) == cache.windows == 9 * images
    assert {path.suffix for path in kept} <= {suffix}
    cache.remove()
    assert not cache.folder.exists()


def test_an_image_is_decoded_once(
    places: list[tuple[Path, tiling.Window]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several ask at a time."""
    opened: list[Path] = []
    crops = tiling.crops

    def counted(path: Path, windows: object) -> object:
        opened.append(path)
        return crops(path, windows)  # type: ignore[arg-type]

    monkeypatch.setattr("lmm_detector._training._window_cache.tiling.crops", counted)
    cache = window_cache(places, tmp_path / "run", 32)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: cache.pixels(*place), places * 3))
    assert sorted(opened) == sorted([*cache.cuts, *[places[-1][0]] * 3])


def test_an_image_that_has_changed_is_cut_again(places: list[tuple[Path, tiling.Window]], tmp_path: Path) -> None:
    cache = window_cache(places, tmp_path / "run", 32)
    path, window = places[0]
    before = cache.pixels(path, window)
    noise(path, 150, seed=9)
    os.utime(path, ns=(1, 1))
    after = cache.pixels(path, window)
    assert (before != after).any()
    np.testing.assert_array_equal(after, direct(path, window))


def test_what_was_cut_half_is_cut_again(places: list[tuple[Path, tiling.Window]], tmp_path: Path) -> None:
    """As a killed process leaves it."""
    cache = window_cache(places, tmp_path / "run", 32)
    path, window = places[0]
    cache.pixels(path, window)
    files = sorted(cache.folder.rglob("*.tif"))
    for file in files[1:]:
        file.unlink()
    (files[0].parent / "unfinished.tif").write_bytes(b"II*")
    for each in cache.cuts[path].windows:
        np.testing.assert_array_equal(cache.pixels(path, each), direct(path, each))


def test_without_a_place_windows_are_read_from_the_image(
    places: list[tuple[Path, tiling.Window]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = window_cache(places, tmp_path / "run", 32)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    for path, window in places:
        np.testing.assert_array_equal(cache.pixels(path, window), direct(path, window))


def test_a_broken_image_is_an_error_that_names_it(places: list[tuple[Path, tiling.Window]], tmp_path: Path) -> None:
    cache: WindowCache = window_cache(places, tmp_path / "run", 32)
    path, window = places[0]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=path.name):
        cache.pixels(path, window)


@pytest.mark.slow
def test_a_run_comes_to_the_same_with_it_and_without(
    run_config: TrainConfig, tmp_path: Path, forked: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    """Of scenes of four windows; with two processes that load, too."""
    config = dataclasses.replace(run_config, split=["val"], steps=4, augmentation={"vertical_flip": 0.5})
    losses = []
    for name, changed in {
        "direct": {"window_cache": 0.0},
        "kept": {},
        "two": {"workers": 2},
    }.items():
        out = tmp_path / name
        train(dataclasses.replace(config, out=str(out), **changed))  # type: ignore[arg-type]
        losses.append([json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()])
        assert not (out / "windows").exists()
    assert losses[0] == losses[1] == losses[2]
    assert "windows of 3 images are cut once, and kept until the run ends" in caplog.text
