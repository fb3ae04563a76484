"""Write docs/baselines-instance.md: an instance model of each kind that mmdet has, tried once on random weights.

python tools/baselines_instance.py            # tries those not yet in docs/baselines-zoo/instance.json; writes the page
python tools/baselines_instance.py --anew     # tries all of them (a few minutes on 2 cores)
python tools/baselines_instance.py --check    # exit code 1 and the differences, where the page is not of that file
"""  # words: anew

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

import click
import rbox_baselines
from _trials import PACKAGES, kept, table, versions
from rbox_baselines._configs import _load, _mmdet
from rbox_baselines._configs._trial import STEPS, Outcome, trial
from rbox_baselines._stack import _mends
from rbox_formats import files

DOCS = Path(__file__).parents[1] / "docs"
PAGE, TRIED = "baselines-instance.md", "baselines-zoo/instance.json"
SIZE = 256

#: The smallest model of each kind.
MODELS = {
    "mask-rcnn_r50_fpn_1x_coco": "Mask R-CNN",
    "cascade-mask-rcnn_r50_fpn_1x_coco": "Cascade Mask R-CNN",
    "htc-without-semantic_r50_fpn_1x_coco": "Hybrid Task Cascade",
    "ms-rcnn_r50_fpn_1x_coco": "Mask Scoring R-CNN",
    "point-rend_r50-caffe_fpn_ms-1x_coco": "PointRend",
    "decoupled-solo-light_r50_fpn_3x_coco": "Decoupled SOLO",
    "solo_r50_fpn_1x_coco": "SOLO",
    "solov2-light_r18_fpn_ms-3x_coco": "SOLOv2",
    "condinst_r50_fpn_ms-poly-90k_coco_instance": "CondInst",
    "queryinst_r50_fpn_1x_coco": "QueryInst",
    "mask2former_r50_8xb2-lsj-50e_coco": "Mask2Former",
    "rtmdet-ins_tiny_8xb32-300e_coco": "RTMDet-Ins",
    "yolact_r50_1xb8-55e_coco": "YOLACT",
}

INTRO = """\
<!-- Written by tools/baselines_instance.py: change that, or the models. -->

# mmdet's instance models

These models find objects with their masks. `rbox-baselines train NAME --data ...` trains one on any dataset of the
[formats](reference/dataset-formats.md): COCO's polygons and run lengths, rasters of buildings (`whu`), or boxes, whose
quads are then the masks. `predict` writes each object's mask, and the rotated rectangle around the mask as its box, so
that `evaluate` compares an instance model with oriented detectors (boxes), or with others of its kind (`--geometry
mask`).

mmdet {mmdet} brings {configs} configs of these kinds; `rbox-baselines train --list` names them. HTC and SCNet with a
semantic branch are not among them, since they learn from semantic maps too, nor is BoxInst, which needs scikit-image.
The smallest of each kind was tried once, with random weights, on one synthetic image of {size} x {size} px with three
to six objects, on {device}, as [MMRotate's models](baselines-zoo.md) were: it is **built**; its **losses** and all
**gradients** are finite, and not all are 0; and it **predicts** finite boxes and as many masks of the image's size.
**This shows that every part of a model runs, not that values are right**: what does is said on that page.

Written by `python tools/baselines_instance.py` (torch {torch}, mmengine {mmengine}, mmdet {mmdet}, mmcv-lite {mmcv}).
"""


def setup() -> dict[str, Any]:
    """Return what a trial is made with; if it differs, all models are tried again."""
    return {"size": SIZE, "device": "cpu", **versions(*PACKAGES)}


def try_all(path: Path, anew: bool) -> None:
    """Try each model that the file does not hold yet."""
    found = kept(path, setup(), anew=anew)
    found["models"] = {name: found["models"][name] for name in MODELS if name in found["models"]}
    for name in MODELS:
        if name not in found["models"]:
            outcome = trial(_load.load_model(name), size=SIZE)
            click.echo(f"{name}: {outcome.reason or 'passed'} ({outcome.seconds:.0f} s)")
            found["models"][name] = dataclasses.asdict(outcome)
            files.write_text(path, json.dumps(found, indent=1) + "\n")


def page(docs: Path) -> str:
    """Return the page that the file of trials makes."""
    found = json.loads((docs / TRIED).read_text(encoding="utf-8"))
    fields = {field.name for field in dataclasses.fields(Outcome)}
    rows = []
    for name, kind in MODELS.items():
        values = found["models"].get(name)
        if values is None:
            continue
        outcome = Outcome(**{key: value for key, value in values.items() if key in fields})
        steps = ["yes" if step in outcome.passed else f"no: {outcome.reason}" for step in STEPS]
        steps = steps[: len(outcome.passed) + 1] + [""] * (len(STEPS) - len(outcome.passed) - 1)
        loss = f"{sum(outcome.losses.values()):.4g}" if outcome.losses else ""
        parameters = f"{outcome.parameters / 1e6:.1f}" if outcome.parameters else ""
        rows.append([kind, f"`{name}`", parameters, *steps, loss, str(outcome.boxes or "")])
    device = "the CPU"
    intro = INTRO.format(configs=len(_mmdet.zoo()), **{**found["setup"], "device": device})
    header = ["model", "config", "parameters (M)", *STEPS, "sum of losses", "objects"]
    return "\n".join([intro.rstrip("\n"), *table(header, rows)]).rstrip("\n") + "\n"


@click.command()
@click.option("--anew", is_flag=True, help="Try all models again.")
@click.option("--check", is_flag=True, help="Compare the page with what its file of trials makes.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="The folder of the page.")
def main(anew: bool, check: bool, docs: Path) -> None:
    """Try mmdet's instance models, and write the page of them."""
    if not check:
        _mends.silence()
        rbox_baselines.enable_mmcv_ops()
        try_all(docs / TRIED, anew)
        files.write_text(docs / PAGE, page(docs))
        return
    old, new = (docs / PAGE).read_text(encoding="utf-8").splitlines(), page(docs).splitlines()
    differences = list(difflib.unified_diff(old, new, "committed", "made by the code", lineterm=""))
    for line in differences:
        click.echo(line)
    if differences:
        raise click.ClickException(f"{docs / PAGE} is not what the code makes: run python tools/baselines_instance.py")


if __name__ == "__main__":
    main()
