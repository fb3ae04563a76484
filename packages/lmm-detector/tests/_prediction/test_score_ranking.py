"""That scores from token probabilities rank boxes: on a half-trained model, and against random scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import Detector, _families
from lmm_detector._prediction._generation import Generation
from lmm_detector._spec import DetectorSpec
from PIL import Image
from rbox_formats import ImageRecord, codecs, synthetic
from rbox_metrics import Report, evaluate
from rbox_testing.tiny_florence2 import save_tiny_florence2

SCENES, BATCH, SEED = 64, 16, 0
FIRST, EVERY, LAST = 200, 25, 700  # steps
RANDOM_SEEDS = 200
NAMES = synthetic.CLASS_NAMES


def report_on(truth: list[ImageRecord], found: list[ImageRecord]) -> Report:
    """By the area below the curve, which has no steps of a tenth as eleven points have."""
    return evaluate(truth, found, NAMES, protocol="voc")


@pytest.mark.slow
@pytest.mark.variant
@pytest.mark.timeout(600)
def test_scores_rank_better_than_chance(tmp_path: Path) -> None:
    """AP at IoU 0.5 by the scores lies above the mean over random scores by more than their spread.

    The tiny model learns the scenes until it is half trained: F1 from 0.45 to 0.7 on them.
    """
    codec = codecs.get("florence2")
    scenes = [synthetic.scene(seed, synthetic.TINY) for seed in range(SCENES)]
    truth = [record for _, record in scenes]
    paths = [tmp_path / f"{record.image_id}.png" for record in truth]
    for (pixels, _), path in zip(scenes, paths, strict=True):
        Image.fromarray(pixels).save(path)
    samples = [
        _families.Sample(pixels, codec.encode(record.shapes, record.labels, NAMES, record.size), True)
        for pixels, record in scenes
    ]
    family = _families.load(str(save_tiny_florence2(tmp_path / "model", NAMES, codec, seed=SEED)))
    detector = Detector(family, DetectorSpec(NAMES, codec.to_dict(), codec.prompt, 96, 0), codec, "half-trained")
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-3, weight_decay=0.0)
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)  # of the dropout
    order = np.concatenate([rng.permutation(SCENES) for _ in range(LAST * BATCH // SCENES + 1)])

    f1, found = 0.0, []
    for step in range(1, LAST + 1):
        family.model.train()
        batch = [samples[number] for number in order[(step - 1) * BATCH : step * BATCH]]
        optimizer.zero_grad()
        family.model(**family.on_device(family.collate(batch, codec.prompt))).loss.backward()
        torch.nn.utils.clip_grad_norm_(family.model.parameters(), 1.0)
        optimizer.step()
        if step >= FIRST and step % EVERY == 0:
            family.model.eval()
            found = list(detector.predict(paths, Generation(max_new_tokens=60, batch_size=32, first_tokens=0)))
            f1 = report_on(truth, found).figures["f1_micro"]
            if f1 >= 0.45:
                break
    assert 0.45 <= f1 <= 0.7

    by_scores = report_on(truth, found).figures["map"]
    by_chance = []
    for seed in range(RANDOM_SEEDS):
        rng = np.random.default_rng(seed)
        shuffled = [replace(record, scores=rng.uniform(size=len(record))) for record in found]
        by_chance.append(report_on(truth, shuffled).figures["map"])
    mean, spread = np.mean(by_chance), np.std(by_chance)
    assert spread > 0
    print("MARGIN", f1, by_scores, mean, spread, step)
    assert by_scores > mean + spread, f"F1 {f1:.3f}: AP {by_scores:.4f}, by chance {mean:.4f} ± {spread:.4f}"
