"""The metric that scores a model during training. It replaces the config's own, and reports under their names too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._names import nearest
from rbox_baselines._configs._pipelines import innermost, learns_masks
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
else:
    Config = Any  # mmengine is imported where a config is read

METRIC = "RBoxMetric"
DATASET = "RBoxDataset"

# What `RBoxMetric` itself reports, at the threshold 0.5 that it has unless an option sets others.
_OWN = ("map", "map_nc", "f1_micro")
_COCO = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def replace_evaluators(config: Config) -> None:
    """Replace the config's own metrics by ours, which reports under their names as well.

    MMRotate's DOTAMetric takes minutes where ours takes seconds, and its mAP differs from that of `evaluate`. A config
    of masks keeps its metric where it keeps its own dataset.
    """
    masks = learns_masks(config)
    for kind in ("val", "test"):
        loader = config.get(f"{kind}_dataloader")
        if loader is None or (masks and innermost(loader.dataset).type != DATASET):
            continue
        served = [_served(each) for each in _listed(config.get(f"{kind}_evaluator"))]
        config[f"{kind}_evaluator"] = {
            "type": METRIC,
            **({"protocol": "coco", "iou_thresholds": _COCO, "geometry": "mask"} if masks else {}),
            "also": [each for each in served if each],
        }


def best_by(config: Config) -> str:
    """Return the metric that chooses the best checkpoint, where the config does not say."""
    return "coco/segm_mAP" if reported(_listed(config.val_evaluator)) is None else "rbox/map"


def check_monitored(config: Config) -> None:
    """Make sure, before the first step, that the metrics that hooks wait for are reported.

    A rule is set where a hook has none: mmengine knows none for our names, and all of ours are better where greater.

    Raises:
        ConfigError: If one is not.
    """
    hooks = [*config.default_hooks.values(), *(config.get("custom_hooks") or [])]
    waiting = [
        (hook, key) for hook in hooks if isinstance(hook, dict) for key in ("save_best", "monitor") if hook.get(key)
    ]
    if not waiting or config.get("val_evaluator") is None:
        return
    known = reported(_listed(config.val_evaluator))
    for hook, key in waiting:
        names = [hook[key]] if isinstance(hook[key], str) else list(hook[key])
        for name in names:
            if name != "auto" and known is not None and name not in known:
                raise ConfigError(
                    f"expected {key} of {hook.get('type')} among {', '.join(known)}, got {name!r}",
                    remedy=nearest(name, known),
                )
        if hook.get("rule") is None:
            hook["rule"] = "greater"


def reported(evaluators: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """Return the names under which evaluators report; None where one is not ours, and may report anything.

    Args:
        evaluators: The evaluators of a config, a dict each.
    """
    found: list[str] = []
    for each in evaluators:
        if each.get("type") != METRIC:
            return None
        thresholds = each.get("iou_thresholds", (0.5,))
        at = [f"map_{round(100 * threshold)}" for threshold in (0.5, 0.75) if threshold in thresholds]
        found += [f"{each.get('prefix') or 'rbox'}/{name}" for name in (_OWN[0], *at, *_OWN[1:])]
        for served in each.get("also", ()):
            found += [f"{served['prefix']}/{name}" for name in served["names"]]
    return found


def _listed(evaluators: Any) -> list[Mapping[str, Any]]:
    """Return one or many evaluators as a list."""
    if evaluators is None:
        return []
    return list(evaluators) if isinstance(evaluators, Sequence) else [evaluators]


def _served(evaluator: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how rbox_metrics computes a metric of MMRotate, and which of our numbers is reported under which name.

    MMRotate's `DOTAMetric` has "dota/mAP" and "dota/AP50", its `RotatedCocoMetric` "r_coco/bbox_mAP", "_50" and "_75",
    and mmdet's `CocoMetric` "coco/segm_mAP" and its kind; its "coco/bbox_mAP", of upright boxes, is not computed.
    """
    kind = str(evaluator.get("type", "")).rpartition(".")[2]
    if kind == "DOTAMetric":
        given = evaluator.get("iou_thrs", 0.5)
        thresholds = [float(value) for value in (given if isinstance(given, Sequence) else [given])]
        names = {"mAP": "map"} | {f"AP{round(100 * value):02d}": f"map_{round(100 * value)}" for value in thresholds}
        protocol = "voc" if evaluator.get("eval_mode", "11points") == "area" else "voc07"
        prefix = "dota"
    elif kind == "RotatedCocoMetric":
        thresholds = [float(value) for value in evaluator.get("iou_thrs") or _COCO]
        names = {"bbox_mAP": "map", "bbox_mAP_50": "map_50", "bbox_mAP_75": "map_75"}
        protocol, prefix = "coco", "r_coco"
    elif kind == "CocoMetric" and "segm" in evaluator.get("metric", "bbox"):
        thresholds = list(_COCO)
        names = {"segm_mAP": "map", "segm_mAP_50": "map_50", "segm_mAP_75": "map_75"}
        protocol, prefix = "coco", "coco"
    else:
        return None
    return {
        "prefix": evaluator.get("prefix") or prefix,
        "protocol": protocol,
        "iou_thresholds": tuple(thresholds),
        "names": names,
    }
