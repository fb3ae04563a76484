"""A model card: what a run was, out of the files that it left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from lmm_detector._spec import DetectorSpec
from lmm_detector._training._config import PLACES, TrainConfig, load
from lmm_detector._training._following import PICTURE

_SCORES = {
    "eval_map_nc": "mAP_nc",
    "eval_map": "mAP",
    "eval_f1_micro": "F1, all objects",
    "eval_f1_macro": "F1, mean of classes",
    "eval_precision_micro": "precision",
    "eval_recall_micro": "recall",
    "eval_loss": "loss on held-out windows",
}


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the last name of each local path only; names on the hub stay."""
    return {name: _plain(value) if name in PLACES else value for name, value in settings.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, str) or not (Path(value).exists() or value.startswith(("/", ".", "~")) or "\\" in value):
        return value
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2]


def model_card(run: Path, model: Path, name: str) -> str:
    """Return the card of a run, in the hub's Markdown.

    Args:
        run: Its folder.
        model: That of its detector.
        name: Of the repository, such as "owner/name".

    Raises:
        RboxError: If a file is not as `train` leaves it.
    """
    spec = DetectorSpec.load(model)
    config = load(run / "settings.yaml", {})
    settings = without_places(vars(config))
    base = settings["model_name_or_path"]
    is_on_hub = base == config.model_name_or_path and "/" in base
    parts = [
        _header(base if is_on_hub else None),
        f"# {name.rpartition('/')[2]}",
        f"A detector of rotated boxes: {base}, fine-tuned to write the objects of an image as text, by lmm-detector.",
        f'```python\nfrom lmm_detector import Detector\n\ndetector = Detector.from_pretrained("{name}")\n'
        'found = detector.predict("scene.png")\nfound.plot()\n```',
        "## What it was taught",
        f"- Classes ({len(spec.class_names)}): {', '.join(spec.class_names)}\n"
        f"- Text format: {_codec(spec)}\n"
        f"- Prompt: {spec.prompt}\n"
        f"- Windows: {spec.window} px, which overlap by {spec.gap} px\n"
        f"- Data: {_data(settings, run / 'texts.jsonl')}",
        *_scores(run, config, settings),
        "## Settings",
        f"```yaml\n{_changed(settings)}```",
    ]
    if (run / PICTURE).is_file():
        parts += ["## Training", f"![losses and scores by step]({PICTURE})"]
    return "\n\n".join(parts) + "\n"


def _header(base: str | None) -> str:
    lines = ["library_name: lmm-detector", "pipeline_tag: object-detection"]
    lines += [] if base is None else [f"base_model: {json.dumps(base)}"]
    lines += ["tags:", *(f"- {tag}" for tag in ("oriented-object-detection", "rotated-boxes", "lmm-detector"))]
    return "\n".join(["---", *lines, "---"])


def _codec(spec: DetectorSpec) -> str:
    options = ", ".join(f"{key} {value}" for key, value in spec.codec.items() if key != "name")
    return f"{spec.codec['name']}" + (f" ({options})" if options else "")


def _data(settings: Mapping[str, Any], texts: Path) -> str:
    lines = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
    splits = f", {' and '.join(settings['split'])}" if settings["split"] else ""
    objects = sum(int(line["objects"]) for line in lines)
    return f"{', '.join(settings['data_path'])}{splits}: {len(lines)} windows with {objects} objects"


def _scores(run: Path, config: TrainConfig, settings: Mapping[str, Any]) -> list[str]:
    path = run / "evaluations.jsonl"
    if not path.is_file():
        return []
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    key = f"eval_{config.eval_metric}"
    best = (min if config.eval_metric == "loss" else max)(found, key=lambda entry: float(entry[key]))
    rows = [f"| {label} | {best[name]:.4f} |" for name, label in _SCORES.items() if name in best]
    data = settings["eval_data_path"] or settings["data_path"][0]
    images = f", {config.eval_images} of its images" if config.eval_images else ""
    return [
        "## Scores",
        f"On {data}, {config.eval_split}{images}, at step {best['step']}: matched at IoU 0.5 as MMRotate does, by "
        "rbox-metrics; mAP_nc disregards confidence, as LMMRotate's.",
        "| | |\n|---|---|\n" + "\n".join(rows),
    ]


def _changed(settings: Mapping[str, Any]) -> str:
    """Return the settings that are not the defaults."""
    import yaml

    defaults = {
        each.name: each.default_factory() if each.default_factory is not MISSING else each.default
        for each in fields(TrainConfig)
    }
    changed = {name: value for name, value in settings.items() if name != "out" and value != defaults[name]}
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
