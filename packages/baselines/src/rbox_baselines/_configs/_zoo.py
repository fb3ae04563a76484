"""MMRotate's own configs, which its package brings, those that no longer work mended by overrides."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._names import nearest
from rbox_baselines._configs._weights import without_pretrained
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True)
class Change:
    """What is changed in a config that would not work otherwise.

    Attributes:
        why: What is wrong with it, and what takes its place.
        read: The config that is read in its place.
        model_of: The config whose model it gets.
        set: What is set last, by dotted names; a number is a place in a list.
        drop: Settings that are left out.
    """

    why: str
    read: str | None = None
    model_of: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


#: By name; `*` stands for anything.
CHANGES: dict[str, Change] = {
    "rotated-retinanet-rbox-le135_r50_fpn_gwd_1x_dota": Change(
        "Its base is named `-obb-`, which is now `-rbox-`: that is read, and given this config's loss.",
        read="rotated-retinanet-rbox-le135_r50_fpn_1x_dota",
        set={
            "model.bbox_head.reg_decoded_bbox": True,
            "model.bbox_head.loss_bbox.type": "GDLoss",
            "model.bbox_head.loss_bbox.loss_type": "gwd",
            "model.bbox_head.loss_bbox.loss_weight": 5.0,
        },
    ),
    "s2anet-le135_r50_fpn_3x_hrsc": Change(
        "It is of MMRotate 0.x, whose class `S2ANet` is gone: it has the model of `s2anet-le135_r50_fpn_1x_dota` for "
        "one class, and the data and the schedule of its own bases.",
        model_of="s2anet-le135_r50_fpn_1x_dota",
        set={"model.bbox_head_init.num_classes": 1, "model.bbox_head_refine.0.num_classes": 1},
        drop=("data", "img_norm_cfg", "train_pipeline"),
    ),
    "*_convnext-tiny_*": Change(
        "It takes its backbone from mmcls, which does not go with mmdet 3.1.0: the backbone is rbox_baselines' own, "
        "which loads the same weights.",
        set={"custom_imports.imports": ["rbox_baselines._parts._convnext"], "model.backbone.type": "ConvNeXt"},
    ),
    "sasm-reppoints-*": Change(
        "Its loss works on a GPU alone and its assigner on images of 384 px and more: "
        "`rbox_baselines._stack._mends.run_sasm_anywhere`."
    ),
    "rotated-fcos-le90_r50_fpn_kld_1x_dota": Change(
        "Its loss is not a number for predicted boxes without width or height: "
        "`rbox_baselines._stack._mends.keep_gaussians_regular`."
    ),
}


def zoo() -> dict[str, Path]:
    """Return the configs by their files' names without suffix, in order; none where mmrotate is not installed."""
    spec = find_spec("mmrotate")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / ".mim" / "configs"
    paths = sorted(path for path in folder.rglob("*.py") if "_base_" not in path.relative_to(folder).parts)
    return {path.stem: path for path in paths}


def changes(name: str) -> list[Change]:
    """Return what is changed in a config, or in the code of its model, so that it works."""
    return [change for pattern, change in CHANGES.items() if fnmatchcase(name, pattern)]


def load_zoo(name: str) -> Config:
    """Read a config of the zoo, with the changes that it needs to work.

    Modules that it names in `custom_imports` are imported: `enable_mmcv_ops` comes first.

    Raises:
        ConfigError: If the zoo has none of that name.
    """
    config = _mended(name)
    imports = config.get("custom_imports")
    if imports:
        from mmengine.utils import import_modules_from_strings

        import_modules_from_strings(**imports)
    return config


@functools.cache
def distinct() -> dict[str, tuple[str, ...]]:
    """Return the names of all configs, grouped under the first with the same model, whatever weights it begins with."""
    models: dict[str, list[str]] = {}
    for name in zoo():
        model = json.dumps(without_pretrained(_mended(name)).model.to_dict(), sort_keys=True, default=str)
        models.setdefault(model, []).append(name)
    return {names[0]: tuple(names) for names in models.values()}


def _mended(name: str) -> Config:
    found = changes(name)
    config = _read(next((change.read for change in found if change.read), name))
    for change in found:
        if change.model_of:
            config.model = _read(change.model_of).model
        config.merge_from_dict(dict(change.set))
        for key in change.drop:
            config.pop(key)
    return config


def _read(name: str) -> Config:
    from mmengine.config import Config

    paths = zoo()
    if name not in paths:
        known = f"It has {len(paths)}." if paths else "mmrotate is not installed: pip install mmrotate==1.0.0rc1"
        raise ConfigError(
            f"expected the name of a config of MMRotate's zoo, got {name!r}", remedy=f"{nearest(name, paths)} {known}"
        )
    return Config.fromfile(paths[name], import_custom_modules=False)
