"""The detections that the benchmarks score: 458 images like DOTA-v1.0's validation set, and any multiple of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CLASSES = tuple(f"class {k}" for k in range(15))


@dataclass(frozen=True)
class Detections:
    """Truths (T, 5) and detections (D, 5), with labels, the images that they are on, and scores; sorted by image."""

    images: int
    truths: np.ndarray
    truth_labels: np.ndarray
    truth_images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    image_index: np.ndarray
    scores: np.ndarray


def draw(images: int = 458, truths: int = 28_656, per_truth: int = 8, seed: int = 0) -> Detections:
    """Draw truths over images by Dirichlet(0.6), with log-normal sides; detections are jittered copies of truths.

    The side of an image is 1,000 to 4,000 px. One detection in ten has a random class. Scores are drawn around the
    overlap that the jitter leaves, so that better detections have higher ones.
    """
    rng = np.random.default_rng(seed)
    per_image = rng.multinomial(truths, rng.dirichlet(np.full(images, 0.6)))
    truth_images = np.repeat(np.arange(images), per_image)
    sides = rng.choice([1000.0, 2000.0, 3000.0, 4000.0], images)[truth_images]
    size, ratio = np.exp(rng.normal(3.3, 0.6, truths)), np.exp(np.abs(rng.normal(0.0, 0.5, truths)))
    boxes = np.column_stack(
        [
            rng.uniform(0, 1, (truths, 2)) * sides[:, None],
            size * np.sqrt(ratio),
            size / np.sqrt(ratio),
            rng.uniform(-math.pi / 2, math.pi / 2, truths),
        ]
    )
    truth_labels = rng.choice(len(CLASSES), truths, p=rng.dirichlet(np.full(len(CLASSES), 0.8)))
    source = np.repeat(np.arange(truths), per_truth)
    strength = rng.exponential(1.0, len(source))
    noise = rng.normal(0, 1, (len(source), 5)) * strength[:, None]
    found = boxes[source]
    found[:, :2] += 0.1 * noise[:, :2] * found[:, 2:4]
    found[:, 2:4] *= np.exp(0.1 * noise[:, 2:4])
    found[:, 4] += 0.1 * noise[:, 4]
    labels = truth_labels[source]
    wrong = rng.random(len(source)) < 0.1
    labels[wrong] = rng.integers(0, len(CLASSES), wrong.sum())
    scores = 1 / (1 + np.exp(2 * strength - 2 + rng.normal(0, 1, len(source))))
    return Detections(images, boxes, truth_labels, truth_images, found, labels, truth_images[source], scores)
