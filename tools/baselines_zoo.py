"""Write docs/baselines-zoo.md: each model of MMRotate's zoo tried once, on random weights and one image.

python tools/baselines_zoo.py            # tries the models not yet in docs/baselines-zoo/*.json; writes the page
python tools/baselines_zoo.py --anew     # tries all of them (a quarter of an hour on 2 cores)
python tools/baselines_zoo.py --check    # exit code 1 and the differences, where the page is not of those files

The results are kept after each model: a stopped run is resumed. Where mmcv is compiled, as for
packages/rbox-metrics/tests/data/peers.py, the same command tries the models with mmcv's own operators, and keeps that
in a file of its own: the page then shows the losses of both.
"""  # words: anew

from __future__ import annotations

import dataclasses
import difflib
import json
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import rbox_baselines
from _trials import PACKAGES, kept, table, versions
from rbox_baselines._configs._trial import STEPS, Outcome, trial
from rbox_baselines._configs._zoo import CHANGES, changes, distinct, load_zoo, zoo
from rbox_baselines._stack import _mends
from rbox_formats import files

DOCS = Path(__file__).parents[1] / "docs"
PAGE, SUPPLIED, COMPILED = "baselines-zoo.md", "baselines-zoo/supplied.json", "baselines-zoo/compiled.json"
SIZE = 256

#: Models whose losses are not those of compiled operators, and why.
APART = "*s2anet-le135_*"
WHY_APART = (
    "two anchors overlap an object of this image equally, to the last digit of single precision, and both learn it; "
    "with mmcv's overlaps, which differ by 1e-7, one does"
)

INTRO = """\
<!-- Written by tools/baselines_zoo.py: change that, or the models. -->

# MMRotate's models

MMRotate {mmrotate} brings {configs} configs; two of them cannot be read unchanged. {models} are different models;
the others differ in data, schedule, or the weights that they begin with. Without compiled operators, rbox_baselines
runs {whole} of these {models}.

Each was tried once, with random weights, on one synthetic image of {size} x {size} px with three to six objects, on
{device}: it is **built**; its **losses** are finite; so are all **gradients**, and not all are 0; and it **predicts**
boxes that are finite, where each score counts, 40 boxes of a level at most come to suppression and 100 are kept. Depths
and widths are the config's own. H2RBox, which learns from a window of the image, has one of {window} x {window} px.

**This shows that every part of a model runs. It does not show that values are right**: a finite loss proves nothing.
Three things do: the tests of each operator (`packages/baselines/tests/_ops`), which hold values and gradients against
mmcv's compiled operators, or against another implementation where mmcv has none for the CPU; the tests of 12 whole
models (`packages/baselines/tests/_configs/test_whole_models.py`), which give the predictions that they gave with
mmcv's compiled operators, 10 of them the losses and gradients, too, and nearly the same in bfloat16; and, below, the
sum of the losses beside that of the same weights and the same image with mmcv {mmcv} compiled, where mmcv has the
operators that the model needs.
{compared}
Written by `python tools/baselines_zoo.py` (torch {torch}, mmengine {mmengine}, mmdet {mmdet}, {mmcv_lite}); it tries
models and writes this page. `hatch run test-slow packages/baselines/tests/_configs` tries all of them as a test.
Models of another project that is built on MMRotate: [ai4rs](baselines-ai4rs.md), by `tools/try_configs.py`.
"""

CHANGED = """
## What was mended

Configs that no longer work unchanged, and what `rbox_baselines` does about them when it reads them (`CHANGES` in
`rbox_baselines/_configs/_zoo.py`). Mends of MMRotate's code are in `rbox_baselines/_stack/_mends.py`, each with its
reason.
"""

SAME = """
## Configs that share a model

The first of each line is the one in the table above.
"""


def setup(device: str) -> dict[str, Any]:
    """Return what a trial is made with; if it differs, all models are tried again."""
    import torch

    return {"size": SIZE, "device": torch.device(device).type, **versions(*PACKAGES)}


def try_all(path: Path, device: str, anew: bool) -> None:
    """Try each model that the file does not hold yet."""
    found = kept(path, setup(device), anew=anew)
    path.parent.mkdir(exist_ok=True)
    groups = distinct()
    found["models"] = {name: found["models"][name] for name in groups if name in found["models"]}
    for name, names in groups.items():
        if name not in found["models"]:
            outcome = trial(load_zoo(name), size=SIZE, device=device)
            click.echo(f"{name}: {outcome.reason or 'passed'} ({outcome.seconds:.0f} s)")
            found["models"][name] = dataclasses.asdict(outcome)
        found["models"][name]["names"] = list(names)
        files.write_text(path, json.dumps(found, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return what came of the trials, by model; nothing where none was made."""
    if not path.is_file():
        return {"setup": {}, "models": {}}
    found = json.loads(path.read_text(encoding="utf-8"))
    fields = {field.name for field in dataclasses.fields(Outcome)}
    for entry in found["models"].values():
        entry["outcome"] = Outcome(**{key: value for key, value in entry.items() if key in fields})
    return found


def row(name: str, outcome: Outcome, compiled: Outcome | None) -> list[str]:
    """Return a model's line: what it passed, its losses, what was mended."""
    steps = ["yes" if step in outcome.passed else f"no: {outcome.reason}" for step in STEPS[: len(outcome.passed) + 1]]
    steps += [""] * (len(STEPS) - len(steps))
    loss = f"{sum(outcome.losses.values()):.4g}" if outcome.losses else ""
    other = "" if compiled is None else "no operator for the CPU"
    if compiled and compiled.losses:
        other = f"{sum(compiled.losses.values()):.4g}"
    mended = "[mended](#what-was-mended)" if changes(name) else ""
    return [f"`{name}`", f"{outcome.parameters / 1e6:.1f}", *steps, loss, other, str(outcome.boxes), mended]


def compared(models: dict[str, Any], others: dict[str, Any]) -> str:
    """Return how far losses are from those with compiled operators."""
    pairs = [
        (sum(entry["outcome"].losses.values()), sum(others[name]["outcome"].losses.values()))
        for name, entry in models.items()
        if entry["outcome"].losses
        and name in others
        and others[name]["outcome"].losses
        and not fnmatchcase(name, APART)
    ]
    if not pairs:
        return ""
    largest = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
    apart = sum(fnmatchcase(name, APART) for name in models)
    text = (
        f"On {len(pairs)} models the two differ by {largest:.1g} of the loss at most. {apart} are left out of this "
        f"(`{APART}`): {WHY_APART}."
    )
    return f"\n{textwrap.fill(text, 120, break_on_hyphens=False)}\n"


def page(docs: Path) -> str:
    """Return the whole page, of the two files."""
    supplied, compiled = read(docs / SUPPLIED), read(docs / COMPILED)
    models, others, made = supplied["models"], compiled["models"], supplied["setup"]
    text = INTRO.format(
        configs=sum(len(entry["names"]) for entry in models.values()),
        models=len(models),
        whole=sum(
            entry["outcome"].passed == STEPS or list(entry["outcome"].passed) == [*STEPS] for entry in models.values()
        ),
        device={"cpu": "the CPU", "cuda": "a GPU"}[made["device"]],
        size=made["size"],
        window=made["size"] * 3 // 4,
        mmcv=compiled["setup"].get("mmcv", "2.1.0"),
        mmcv_lite=f"mmcv-lite {made['mmcv']}",
        compared=compared(models, others),
        **{name: made[name] for name in ("torch", "mmengine", "mmdet", "mmrotate")},
    )
    header = [
        *("config", "parameters (M)", *STEPS, "sum of losses", "the same, compiled", "boxes", "changes"),
    ]
    rows = (
        row(name, entry["outcome"], others[name]["outcome"] if name in others else None)
        for name, entry in models.items()
    )
    shared = [entry["names"] for entry in models.values() if len(entry["names"]) > 1]
    lines = [
        text,
        *table(header, rows)[1:],
        CHANGED,
        *table(["config", "change"], ([f"`{name}`", change.why] for name, change in CHANGES.items()))[1:],
        SAME,
        *(f"- {', '.join(f'`{name}`' for name in names)}" for names in shared),
    ]
    return "\n".join(lines).replace("\n\n\n", "\n\n").strip() + "\n"


@click.command()
@click.option("--check", is_flag=True, help="Compare the committed page with what its files give; try nothing.")
@click.option("--anew", is_flag=True, help="Try all models, not only those that were not tried yet.")
@click.option("--device", default="cpu", help="On which to try them, as torch names it.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="The folder of the page; default: docs.")
def main(check: bool, anew: bool, device: str, docs: Path) -> None:
    """Try the models of MMRotate's zoo and write the page of what came of it, or check that page."""
    if not check:
        _mends.silence()
        rbox_baselines.enable_mmcv_ops()
        from rbox_baselines._stack._mmcv import is_compiled

        try_all(docs / (COMPILED if is_compiled() else SUPPLIED), device, anew)
        if (docs / SUPPLIED).is_file():
            files.write_text(docs / PAGE, page(docs))
        return
    old, new = (docs / PAGE).read_text(encoding="utf-8").splitlines(), page(docs).splitlines()
    differences = [*difflib.unified_diff(old, new, "committed", "made by the code", lineterm="")]
    tried = [name for entry in read(docs / SUPPLIED)["models"].values() for name in entry["names"]]
    differences += [f"in one of zoo and page only: {name}" for name in sorted(set(tried) ^ set(zoo()))]
    for line in differences:
        click.echo(line)
    if differences:
        raise click.ClickException(f"{docs / PAGE} is not what the code makes: run python tools/baselines_zoo.py")


if __name__ == "__main__":
    main()
