"""Makes `whole_models.npz`: what whole models of MMRotate's zoo give on the CPU with mmcv 2.1.0's compiled operators.

It needs an environment of its own, with mmcv's operators compiled; `peers.py` of rbox-metrics says how to make it.
Then, with the packages on the path:

    python packages/baselines/tests/_configs/data/whole_models.py

The tests import this file too: they draw the same weights, show the same image, and compare. An entry of the archive is
`image`, `corners` or `model|kind|name`; the kinds are `seed`, `loss`, `gradient` (the norm of a part's gradients) and
`prediction`.

Weights are drawn by their names, so that no other version of a package draws others. They are not those of MMRotate's
own initialisation, with which all scores of an image are nearly equal and all boxes are anchors: heads are drawn such
that scores, boxes and angles vary, and many classes are predicted; a score of 0 counts. A seed is taken if the same
model with weights that differ by a millionth gives the same: its predictions do not hang on the last digit of a score
or of an overlap.
"""

from __future__ import annotations

import copy
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SIZE = 128

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """How a model is drawn and run.

    Attributes:
        losses: Whether mmcv has all operators of its losses for the CPU; else it only predicts.
        share: Which part of the predictions in bfloat16 is at least nearly that of single precision. What has two
            stages begins with regions that rounding chooses, too.
        sides: What the outputs for sides are drawn around: 0 where they change anchors; FCOS cuts sides off at 0.
        norms: The range of the normalisations' weights: features neither vanish nor explode from layer to layer.
        settings: Settings of the model's config that are changed, by dotted names.
    """

    losses: bool = True
    share: float = 0.8
    sides: float = 0.0
    norms: tuple[float, float] = (0.3, 0.9)
    settings: tuple[tuple[str, Any], ...] = ()


def no_ties(*names: str) -> tuple[tuple[str, bool], ...]:
    """Settings with which an object is learnt by the anchors that overlap it well, and not also by the best one.

    Where anchors hold a whole object, their overlaps with it are equal: the last digit, which no two programs have
    alike, would say which of them is the best.
    """
    return tuple((f"model.train_cfg.{name}.match_low_quality", False) for name in names)


#: No detector of quads is here: mmcv's overlaps of quads are wrong by up to 0.22, and so is what it suppresses.
KINDS = {
    "rotated-retinanet-rbox-le90_r50_fpn_csl-gaussian_amp-1x_dota": Kind(
        settings=no_ties("assigner")
    ),  # angles as classes
    "rotated-retinanet-hbox-oc_r50_fpn_kfiou_1x_dota": Kind(),  # boxes as Gaussians; an angle of another range
    "rotated-fcos-le90_r50_fpn_kld_1x_dota": Kind(sides=2.0),  # no anchors; a loss that is mended
    "rotated-fcos-hbox-le90_r50_fpn_psc-dual_1x_dota": Kind(sides=2.0),  # angles as phases
    "h2rbox-le90_r50_fpn_adamw-1x_dota-ms": Kind(sides=2.0),  # two views of the image
    "r3det-refine-oc_r50_fpn_1x_dota": Kind(settings=no_ties("init.assigner")),  # features at refined boxes
    "s2anet-le90_r50_fpn_1x_dota": Kind(settings=no_ties("init.assigner")),  # deformable convolution, filters that turn
    "rotated-faster-rcnn-le90_r50_fpn_1x_dota": Kind(share=0.5),  # upright regions, turned boxes
    "oriented-rcnn-le90_r50_fpn_1x_dota": Kind(share=0.5),  # rotated regions
    # Two heads, each on regions of its own; another backbone, which in learning leaves out blocks by chance.
    "roi-trans-le90_swin-tiny_fpn_1x_dota": Kind(share=0.5, settings=(("model.backbone.drop_path_rate", 0.0),)),
    # Without the vertices of overlaps, which mmcv sorts on a GPU alone: these do not learn.
    "rotated-atss-le90_r50_fpn_1x_dota": Kind(losses=False),
    "rotated_rtmdet_tiny-3x-dota": Kind(losses=False, sides=1.0, norms=(0.9, 1.5)),
}

#: The names of parameters of a head's last layers.
LAST = re.compile(r"(cls|reg|angle|ang|centerness|fix|ratio)(\.\d+)?\.(?:weight|bias)$")
#: How wide their outputs are drawn, where inputs are of variance 1; scores are a sigmoid or a softmax of them.
GAINS = {"cls": 0.5, "angle": 0.5, "ang": 0.5}
GAIN = 0.15


def draw(model: torch.nn.Module, seed: int, kind: Kind) -> None:
    """Give a model weights that depend on the seed and on their names alone."""
    for name, parameter in model.named_parameters():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        last = LAST.search(name)
        if parameter.ndim >= 2:
            # The variance of features stays as it is from layer to layer; R3Det adds three layers to their input.
            width = np.sqrt(2 * parameter.shape[0] / parameter.numel())
            width *= GAINS.get(last[1], GAIN) if last else 0.4 if "feat_refine" in name else 1.0
            values = np.sqrt(12) * width * (random.random(parameter.shape, dtype=np.float32) - np.float32(0.5))
        elif parameter.ndim == 1 and name.endswith("weight"):  # of a normalisation
            values = random.uniform(*kind.norms, parameter.shape)
        elif parameter.ndim == 1:
            centre = {"cls": -2.0, "reg": kind.sides}.get(last[1], 0.0) if last else 0.0
            values = random.normal(centre, 0.1, parameter.shape)
        else:
            continue  # a single number that scales an output
        parameter.data.copy_(torch.from_numpy(np.asarray(values, np.float32)))


def drawn(name: str, seed: int) -> tuple[Any, torch.nn.Module]:
    """Return a config of the zoo for the image, and its model with weights of a seed."""
    from mmrotate.registry import MODELS
    from rbox_baselines._configs._quiet import quiet
    from rbox_baselines._configs._trial import small
    from rbox_baselines._configs._zoo import load_zoo

    config = small(load_zoo(name), SIZE)
    config.merge_from_dict(dict(KINDS[name].settings))
    with quiet():
        model = MODELS.build(config.model)
    draw(model, seed, KINDS[name])
    return config, model


def run(
    config: Any, model: torch.nn.Module, image: NDArray[np.uint8], corners: NDArray[Any], *, losses: bool, half: bool
) -> Values:
    """Return what a model gives: losses, the norms of its parts' gradients, boxes with scores and labels.

    Args:
        config: Its config.
        model: The model. Its gradients are set anew.
        image: The image, of shape (SIZE, SIZE, 3).
        corners: The objects' corners in pixels, of shape (N, 4, 2).
        losses: Whether it learns from the image, too.
        half: Whether it computes in bfloat16, by autocast.
    """
    from rbox_baselines._configs._trial import batch

    found: Values = {}
    precision = torch.autocast("cpu", torch.bfloat16, enabled=half)
    if losses:
        model.train()
        torch.manual_seed(0)  # which regions are learnt from, and H2RBox's angle
        with precision:
            data = model.data_preprocessor(batch(config, image, corners), True)
            total, values = model.parse_losses(model(**data, mode="loss"))
        names = [name for name in values if name != "loss" and "loss" in name]
        found |= {f"loss|{name}": values[name].detach().numpy() for name in names}
        model.zero_grad()
        total.backward()
        found |= {f"gradient|{name}": np.asarray(norm(part), np.float32) for name, part in model.named_children()}
    model.eval()
    with precision, torch.no_grad():
        data = model.data_preprocessor(batch(config, image, corners), False)
        [sample] = model(**data, mode="predict")
    predicted = sample.pred_instances
    boxes = getattr(predicted.bboxes, "tensor", predicted.bboxes)
    found |= {
        f"prediction|{name}": values.float().numpy()
        for name, values in {"boxes": boxes, "scores": predicted.scores}.items()
    }
    found["prediction|labels"] = predicted.labels.numpy()
    return found


def norm(part: torch.nn.Module) -> float:
    gradients = [each.grad.double().square().sum() for each in part.parameters() if each.grad is not None]
    return float(torch.stack(gradients).sum().sqrt()) if gradients else 0.0


def same(found: Values, expected: Values) -> bool:
    """Return whether two runs gave the same numbers, but for rounding."""
    return found.keys() == expected.keys() and all(
        found[key].shape == value.shape and np.allclose(found[key], value, rtol=1e-3, atol=1e-3)
        for key, value in expected.items()
    )


def nearly(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Return a copy of a model whose weights differ by a millionth of themselves."""
    other = copy.deepcopy(model)
    random = torch.Generator().manual_seed(seed)
    for parameter in other.parameters():
        parameter.data.mul_(1 + 1e-6 * torch.randn(parameter.shape, generator=random))
    return other


def seeds(name: str, image: NDArray[np.uint8], corners: NDArray[Any]) -> Iterator[tuple[int, Values]]:
    """Yield seeds with which a model gives enough, and gives it whatever rounding does, and what it gives."""
    learns = KINDS[name].losses
    for seed in itertools.count():
        config, model = drawn(name, seed)
        found = run(config, model, image, corners, losses=learns, half=False)
        labels, scores = found["prediction|labels"], found["prediction|scores"]
        enough = len(labels) >= 30 and len(set(labels)) >= 5 and scores.max() < 0.99
        taught = all(value > 0 for key, value in found.items() if key.startswith("loss|"))
        others = (run(config, nearly(model, each), image, corners, losses=learns, half=False) for each in range(2))
        if enough and taught and all(same(other, found) for other in others):
            yield seed, found


def main() -> None:
    from rbox_baselines._configs._load import set_up
    from rbox_baselines._configs._trial import drawn_scene
    from rbox_baselines._stack import _mends
    from rbox_baselines._stack._mmcv import is_compiled

    _mends.silence()
    set_up()
    if not is_compiled():
        raise SystemExit("expected mmcv with compiled operators")
    image, corners = drawn_scene(SIZE, 0)
    archive: Values = {"image": image, "corners": corners}
    for name in KINDS:
        seed, found = next(seeds(name, image, corners))
        archive[f"{name}|seed|"] = np.asarray(seed)
        archive |= {f"{name}|{key}": value for key, value in found.items()}
        print(f"{name}: seed {seed}, {len(found['prediction|labels'])} boxes")
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **archive)


if __name__ == "__main__":
    main()
