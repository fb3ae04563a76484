"""The ground under the objects: water, land, and the shore between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from rbox_formats.synthetic._config import SceneConfig
from rbox_formats.synthetic._objects import pick, scaled


@dataclass(frozen=True)
class Ground:
    """The ground under the objects, where it is water, and the direction of its light."""

    pixels: np.ndarray  # (size, size, 3) uint8
    water: np.ndarray  # (size, size) bool
    light: np.ndarray  # (2,) towards the sun, unit length


def _smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _noise(rng: np.random.Generator, size: int, feature: float, octaves: int = 4) -> np.ndarray:
    """Return smooth noise (size, size) of variance about 1: normal values on grids, each finer and weaker."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = round(size / feature * 2**octave) + 2
        if octave and cells > size:
            break
        grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        # A random part of a cell is cut off, so that the grids of the octaves are not aligned.
        x, y = rng.uniform(0, 0.9, 2)
        inner = (x, y, x + cells - 1, y + cells - 1)
        total += np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC, box=inner)) / 2**octave
    return total


def _axes(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (size, size) along and across a random direction, px from a random point near the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    x0, y0 = rng.uniform(0.35, 0.65, 2) * size
    x, y = np.arange(size, dtype=np.float32)[None, :] - x0, np.arange(size, dtype=np.float32)[:, None] - y0
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _tinted(colour: Sequence[float] | np.ndarray, change: np.ndarray) -> np.ndarray:
    return np.asarray(colour, np.float32) * (1 + change.astype(np.float32)[..., None])


def _blend(under: np.ndarray, over: np.ndarray | Sequence[float], weight: np.ndarray) -> np.ndarray:
    return under + (np.asarray(over, np.float32) - under) * weight.astype(np.float32)[..., None]


def _relief(heights: np.ndarray, light: np.ndarray) -> np.ndarray:
    down, right = np.gradient(heights)
    return np.asarray(-(right * light[0] + down * light[1]), np.float32)


def _water(rng: np.random.Generator, size: int, unit: float, light: np.ndarray) -> np.ndarray:
    deep = pick(rng, ((28.0, 62.0, 78.0), (22.0, 50.0, 70.0), (34.0, 66.0, 62.0)))
    bent, along = _noise(rng, size, unit, 3), _axes(rng, size)
    waves = np.zeros((size, size), np.float32)
    for length, height in ((0.5, 1.0), (0.29, 0.6), (0.17, 0.4)):
        slant = rng.uniform(-0.6, 0.6)
        phase = (along[0] + slant * along[1]) * (2 * np.pi / (length * unit)) + 2.2 * bent
        waves += height * length * np.sin(phase)
    ripples = _relief(waves, light) * unit / 12 + 0.5 * _relief(_noise(rng, size, 0.12 * unit + 2, 2), light)
    glints = np.clip(ripples - 0.55, 0, 1)
    pixels = _tinted(deep, 0.12 * _noise(rng, size, 4 * unit, 3) + 0.16 * ripples)
    return pixels + 70 * glints[..., None]


def _grass(rng: np.random.Generator, size: int, unit: float, light: np.ndarray) -> np.ndarray:
    lush, dry = np.array([82.0, 104.0, 56.0]), np.array([142.0, 136.0, 88.0])
    patches, tufts = _noise(rng, size, 1.6 * unit), _noise(rng, size, 3.0, 2)
    pixels = _blend(np.broadcast_to(lush.astype(np.float32), (size, size, 3)), dry, _smoothstep(-1.2, 2.0, patches))
    along, _ = _axes(rng, size)
    mown = 0.035 * np.tanh(4 * np.sin(along * (np.pi / (0.55 * unit))))
    pixels = pixels * (1 + mown + 0.05 * tufts + 0.06 * _relief(tufts, light))[..., None]
    clumps = _noise(rng, size, 0.8 * unit, 4)
    bushes = _smoothstep(1.75, 1.95, clumps)
    leaves = _tinted((44.0, 66.0, 38.0), 0.9 * _relief(clumps, light) + 0.12 * tufts)
    return _blend(pixels, leaves, bushes)


def _concrete(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    base = pick(rng, ((176.0, 172.0, 162.0), (162.0, 160.0, 154.0), (186.0, 178.0, 164.0)))
    slab = rng.uniform(0.9, 1.5) * unit
    along, across = (axis / slab for axis in _axes(rng, size))
    shades = rng.normal(0, 0.022, (64, 64)).astype(np.float32)
    change = shades[np.floor(along).astype(int) % 64, np.floor(across).astype(int) % 64]
    joint = max(1.0, 0.025 * unit)
    for axis in (along, across):
        change = change - 0.1 * np.clip(joint / 2 + 0.5 - np.abs(axis - np.round(axis)) * slab, 0, 1)
    change += 0.03 * _noise(rng, size, unit) + 0.02 * _noise(rng, size, 2.5, 1)
    change -= 0.1 * _smoothstep(1.2, 2.4, _noise(rng, size, 0.6 * unit))
    return _tinted(base, change)


def _tarmac(rng: np.random.Generator, size: int, unit: float) -> np.ndarray:
    base = pick(rng, ((92.0, 93.0, 96.0), (80.0, 80.0, 84.0), (108.0, 106.0, 104.0)))
    _, across = _axes(rng, size)
    worn = np.cos(across * (2 * np.pi / (0.8 * unit)) + 0.6 * _noise(rng, size, 2 * unit, 2))
    change = 0.05 * _noise(rng, size, 1.5 * unit) + 0.035 * _noise(rng, size, 2.5, 1) - 0.025 * worn
    pixels = _tinted(base, change)
    # Cracks run where a noise is zero, here and there; over its slope it is the distance from there in px.
    seams = _noise(rng, size, 1.6 * unit, 4)
    distance = seams / (np.hypot(*np.gradient(seams)) + 1e-3)
    cracks = _stripe(distance, 0.02 * unit) * _smoothstep(0.2, 1.2, _noise(rng, size, 2 * unit, 2))
    return _blend(pixels, scaled(base, 0.6), 0.7 * cracks)


def _stripe(distance: np.ndarray, width: float) -> np.ndarray:
    """Return how much of each pixel a line of this width covers, at these distances from its middle."""
    return np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1)


def _parking(rng: np.random.Generator, pixels: np.ndarray, unit: float) -> np.ndarray:
    """Draw white lines of parking bays, in pairs of rows with lanes between them."""
    along, across = _axes(rng, len(pixels))
    bay, row, line = 0.6 * unit, 1.15 * unit, max(1.0, 0.035 * unit)
    place = np.mod(across, 4 * row)
    between = _stripe(along - np.round(along / bay) * bay, line) * (place < 2 * row)
    middle = _stripe(place - row, line)
    return _blend(pixels, (214.0, 214.0, 208.0), 0.75 * np.maximum(between, middle))


def _road(rng: np.random.Generator, pixels: np.ndarray, unit: float) -> np.ndarray:
    """Draw a road or taxiway across the ground."""
    along, across = _axes(rng, len(pixels))
    half, line = rng.uniform(0.5, 0.9) * unit, max(1.0, 0.045 * unit)
    paved = np.clip(half + 0.5 - np.abs(across), 0, 1)
    verge = _smoothstep(half + 0.25 * unit, half, np.abs(across))
    pixels = _blend(pixels, (150.0, 140.0, 120.0), 0.45 * verge)
    pixels = _blend(pixels, _tarmac(rng, len(pixels), unit), paved)
    dashes = _stripe(across, line) * (np.mod(along, 0.7 * unit) < 0.4 * unit)
    edges = _stripe(np.abs(across) - half + 1.8 * line, 0.7 * line)
    paint = pick(rng, ((222.0, 222.0, 214.0), (220.0, 184.0, 70.0)))
    return _blend(pixels, paint, 0.8 * np.maximum(dashes, edges))


def _land(rng: np.random.Generator, size: int, unit: float, light: np.ndarray) -> np.ndarray:
    surface = rng.integers(3)
    if surface == 2:
        return _parking(rng, _tarmac(rng, size, unit), unit)
    pixels = _grass(rng, size, unit, light) if surface == 0 else _concrete(rng, size, unit)
    return _road(rng, pixels, unit) if rng.random() < 0.6 else pixels


def draw_ground(rng: np.random.Generator, config: SceneConfig) -> Ground:
    """Draw open water, land, or a shore: a beach or a quay."""
    size, unit = config.size, config.size * math.sqrt(config.min_scale * config.max_scale)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([math.cos(angle), math.sin(angle)])
    setting = rng.choice(4, p=(0.15, 0.45, 0.2, 0.2))
    if setting == 0:
        pixels, water = _water(rng, size, unit, light), np.ones((size, size), bool)
    elif setting == 1:
        pixels, water = _land(rng, size, unit, light), np.zeros((size, size), bool)
    else:
        inland, _ = _axes(rng, size)
        sea, land = _water(rng, size, unit, light), _land(rng, size, unit, light)
        shore = _beach if setting == 2 else _quay
        pixels, inland = shore(rng, sea, land, inland, unit)
        water = inland < 0
    if config.season == "winter":
        pixels = _winter(rng, pixels, water, unit, light)
    haze = 1 + 0.05 * _noise(rng, size, float(size), 1)
    return Ground(np.clip(pixels * haze[..., None], 0, 255).astype(np.uint8), water, light)


def _winter(
    rng: np.random.Generator, pixels: np.ndarray, water: np.ndarray, unit: float, light: np.ndarray
) -> np.ndarray:
    """Draw the ground in the cold: land under patches of snow, dark water with floes of ice."""
    size = len(pixels)
    drifts = _noise(rng, size, 1.4 * unit)
    snow = _tinted((222.0, 229.0, 238.0), 0.25 * _relief(drifts, light) + 0.02 * _noise(rng, size, 3.0, 2))
    covered = 0.92 * _smoothstep(-0.5, 0.5, drifts + rng.uniform(-0.3, 1.2))
    plates = _noise(rng, size, 0.9 * unit, 3)
    ice = _tinted((204.0, 216.0, 224.0), 0.3 * _relief(plates, light))
    afloat = _smoothstep(0.0, 0.12, plates - rng.uniform(0.8, 2.2))
    land = _blend(0.9 * pixels, snow, covered)
    sea = _blend(_blend(pixels, (20.0, 32.0, 44.0), np.full(water.shape, 0.5)), ice, afloat)
    return np.where(water[..., None], sea, land)


def _beach(
    rng: np.random.Generator, sea: np.ndarray, land: np.ndarray, inland: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    size = len(sea)
    inland = inland + 0.22 * unit * _noise(rng, size, 2.5 * unit)
    sand = _tinted((206.0, 188.0, 150.0), 0.03 * _noise(rng, size, 3.0, 2) + 0.03 * _noise(rng, size, unit))
    sand = _blend(sand, (158.0, 138.0, 104.0), _smoothstep(0.12 * unit, 0.02 * unit, inland))
    shallow = _smoothstep(-1.4 * unit, 0.0, inland)
    pixels = _blend(sea, (92.0, 146.0, 140.0), 0.75 * shallow)
    pixels = _blend(pixels, sand, _smoothstep(-0.6, 0.6, inland))
    foam = np.exp(-((inland + 0.06 * unit) ** 2) / (0.045 * unit + 0.4) ** 2)
    pixels = _blend(pixels, (236.0, 240.0, 238.0), 0.75 * foam * _smoothstep(-0.8, 0.8, _noise(rng, size, 0.5 * unit)))
    grown = _smoothstep(0.35 * unit, 0.6 * unit, inland + 0.12 * unit * _noise(rng, size, 0.6 * unit))
    return _blend(pixels, land, grown), inland


def _quay(
    rng: np.random.Generator, sea: np.ndarray, land: np.ndarray, inland: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    kerb = 0.16 * unit
    pixels = _blend(sea, (22.0, 40.0, 48.0), 0.7 * _smoothstep(-0.35 * unit, 0.0, inland))
    pixels = _blend(pixels, land, np.clip(inland + 0.5, 0, 1))
    capping = _tinted((196.0, 192.0, 182.0), 0.03 * _noise(rng, len(sea), 3.0, 2))
    pixels = _blend(pixels, capping, _stripe(inland - kerb / 2, kerb))
    return _blend(pixels, (70.0, 70.0, 70.0), 0.5 * _stripe(inland - kerb, 1.0)), inland
