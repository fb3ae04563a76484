"""Place the objects of a scene."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from rbox_formats.synthetic._config import SceneConfig
from rbox_formats.synthetic._objects import KINDS, KNOWN_CLASSES, TANK, Object, turn

_HAIR = 1e-6  # px: boxes side by side share a line, and rounding may lap them by this much
_TRIES = 100  # places for one object of one class
_CLUTTER_TRIES = 12  # of a thing that a scene can do without
_LATTICE = np.stack(np.meshgrid(np.linspace(-1.05, 1.05, 7), np.linspace(-1.05, 1.05, 3)), axis=-1).reshape(-1, 2)


def place_objects(rng: np.random.Generator, config: SceneConfig, water: np.ndarray) -> list[Object]:
    """Place objects that do not overlap: ships where there is water (size, size), all others on land."""
    objects: list[Object] = []
    labels = [KNOWN_CLASSES.index(name) for name in config.class_names]
    margin = _margin(config)
    for _ in range(rng.integers(config.min_objects, config.max_objects + 1)):
        fate = rng.random()
        placed = None
        if fate < config.touching and objects:
            placed = _first_fitting(_beside(rng, config, objects), objects, water, gap=-_HAIR)
        if placed is None:
            cut = config.touching <= fate < config.touching + config.cut
            placed = _first_fitting(_on_its_own(rng, config, labels, water, cut), objects, water, gap=margin)
        if placed is not None:
            objects.append(placed)
    return objects


def place_clutter(
    rng: np.random.Generator, config: SceneConfig, water: np.ndarray, objects: Sequence[Object]
) -> list[Object]:
    """Place up to `config.clutter` things that are no objects, apart from the objects and from each other."""
    placed: list[Object] = []
    labels = range(len(KNOWN_CLASSES), len(KINDS))
    for _ in range(rng.integers(config.clutter + 1)):
        candidates = islice(_on_its_own(rng, config, labels, water, cut=False), _CLUTTER_TRIES)
        thing = _first_fitting(candidates, [*objects, *placed], water, gap=_margin(config))
        if thing is not None:
            placed.append(thing)
    return placed


def _margin(config: SceneConfig) -> float:
    """Return how far apart things stand that do not touch, px."""
    return max(2.0, 0.008 * config.size)


def _beside(rng: np.random.Generator, config: SceneConfig, objects: Sequence[Object]) -> Iterator[Object]:
    """Yield objects like each of those given, on each side of it, sharing a line with its box; wholly inside."""
    for i in rng.permutation(len(objects)):
        other = objects[i]
        longest, shortest = config.size * config.max_scale, config.size * config.min_scale
        length = min(max(other.length * rng.uniform(0.92, 1.08), shortest), longest)
        width = length * (other.width / other.length)
        turned = 0.0 if other.label == TANK else rng.integers(2) * np.pi
        along = rng.uniform(-0.12, 0.12) * other.length
        parts = KINDS[other.label].parts(rng)
        for side in rng.permutation([-1, 1]):
            centre = other.centre + turn(np.array([along, side * (other.width + width) / 2]), other.heading)
            candidate = Object(other.label, centre, length, width, other.heading + turned, parts)
            if candidate.quad.min() >= 0 and candidate.quad.max() <= config.size:
                yield candidate


def _on_its_own(
    rng: np.random.Generator, config: SceneConfig, labels: Sequence[int], water: np.ndarray, cut: bool
) -> Iterator[Object]:
    """Yield objects of some kinds anywhere, each wholly inside or, where asked, cut by one side of the image."""
    wanted = {bool(water.all()), bool(water.any())}
    for label in rng.permutation([i for i in labels if KINDS[i].afloat in wanted]).tolist():
        kind = KINDS[label]
        parts = kind.parts(rng)
        low, high = (config.min_scale * (config.max_scale / config.min_scale) ** t for t in kind.window)
        for _ in range(_TRIES):
            length = config.size * rng.uniform(low, high)
            width = length * rng.uniform(*kind.aspect)
            heading = 0.0 if label == TANK else rng.uniform(0, 2 * np.pi)
            cos, sin = abs(math.cos(heading)), abs(math.sin(heading))
            reach = np.array([length * cos + width * sin, length * sin + width * cos]) / 2
            centre = rng.uniform(reach, config.size - reach)
            if cut:
                axis = rng.integers(2)
                item = Object(label, np.zeros(2), length, width, heading, parts)
                drawn = item.to_image(np.concatenate([part.points for part in parts]))[:, axis]
                hidden = rng.uniform(0.15, 0.7)  # of what lies between the centre and the farthest point drawn
                before = -drawn.min() * (1 - hidden), config.size - drawn.max() * (1 - hidden)
                centre[axis] = before[rng.integers(2)]
            yield Object(label, centre, length, width, heading, parts)


def _first_fitting(
    candidates: Iterator[Object], objects: Sequence[Object], water: np.ndarray, gap: float
) -> Object | None:
    others = np.array([item.quad for item in objects]).reshape(-1, 4, 2)
    for candidate in candidates:
        if _stands(candidate, water) and (not objects or bool(np.all(_gaps(candidate.quad, others) >= gap))):
            return candidate
    return None


def _stands(item: Object, water: np.ndarray) -> bool:
    """Return whether a ship has water under all of it, and anything else land."""
    x, y = item.to_image(_LATTICE).astype(int).clip(0, len(water) - 1).T
    return bool((water[y, x] == KINDS[item.label].afloat).all())


def _gaps(quad: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the greatest gap between a rectangle (4, 2) and each other (N, 4, 2) along any side's direction: (N,) px.

    Negative where they overlap, by the depth: two convex shapes are apart exactly if some side of either separates them
    (separating axis theorem).
    """
    every = np.broadcast_to(quad, others.shape)
    gaps = []
    for shape in (every, others):
        for i in range(2):
            edge = shape[:, i + 1] - shape[:, i]
            axis = (edge / np.linalg.norm(edge, axis=1, keepdims=True))[:, :, None]
            a, b = (every @ axis)[..., 0], (others @ axis)[..., 0]
            gaps.append(np.maximum(a.min(axis=1) - b.max(axis=1), b.min(axis=1) - a.max(axis=1)))
    return np.max(gaps, axis=0)
