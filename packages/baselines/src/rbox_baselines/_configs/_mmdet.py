"""mmdet's own configs of instance segmentation, which its package brings: models of masks."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._names import nearest
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

#: The names of the configs in each of mmdet's folders. The others there are of boxes, learn from semantic maps as well
#: as masks, or need a library that mmdet does not bring.
FOLDERS = {
    "cascade_rcnn": "cascade-mask-rcnn_*",
    "condinst": "*",
    "htc": "htc-without-semantic_*",
    "mask2former": "*_coco",
    "mask_rcnn": "*_coco",
    "ms_rcnn": "*",
    "point_rend": "*",
    "queryinst": "*",
    "rtmdet": "rtmdet-ins_*",
    "solo": "*",
    "solov2": "*",
    "yolact": "*",
}


# Under which keys configs name classes, and the transforms of mmcv's that make a `Resize`, of mmdet in mmdet's scope.
_KINDS = ("type", "ema_type", "resize_type")
_RESIZING = ("RandomResize", "RandomChoiceResize")


def zoo() -> dict[str, Path]:
    """Return the configs by their files' names without suffix, in order; none where mmdet is not installed."""
    folder = _folder()
    if folder is None:
        return {}
    found = (path for name in FOLDERS for path in sorted((folder / name).glob("*.py")))
    return {path.stem: path for path in found if fnmatchcase(path.stem, FOLDERS[path.parent.name])}


def load(name: str) -> Config:
    """Read one of the zoo.

    Raises:
        ConfigError: If the zoo has none of that name.
    """
    from mmengine.config import Config

    paths = zoo()
    if name not in paths:
        known = f"It has {len(paths)}." if paths else "mmdet is not installed: pip install mmdet==3.1.0"
        raise ConfigError(
            f"expected the name of a config of mmdet's instance models, got {name!r}",
            remedy=f"{nearest(name, paths)} {known}".strip(),
        )
    return named(Config.fromfile(paths[name], import_custom_modules=False))


def named(config: Config) -> Config:
    """Return a config of mmdet's with each class of mmdet named as of mmdet: the default scope here is MMRotate's."""
    from mmengine.config import Config

    found = Config(_named(config.to_dict()), filename=config.filename)
    found.model["_scope_"] = "mmdet"  # for what its classes build by default
    return found


def _folder() -> Path | None:
    spec = find_spec("mmdet")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / ".mim" / "configs"


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: each if key in ("nms", "roi_layer") else _named(each) for key, each in value.items()}
        if inner.get("type") in _RESIZING:
            inner.setdefault("resize_type", "Resize")
        kinds = {key: inner[key] for key in _KINDS if isinstance(inner.get(key), str)}
        return inner | {key: f"mmdet.{kind}" for key, kind in kinds.items() if _is_of_mmdet(kind)}
    if isinstance(value, list | tuple):
        return type(value)(map(_named, value))
    return value


def _is_of_mmdet(kind: str) -> bool:
    """Return whether mmdet registers a class, under any of its registries."""
    from mmdet import registry
    from mmengine.registry import Registry

    own = [each for each in vars(registry).values() if isinstance(each, Registry) and each.scope == "mmdet"]
    return any(kind in each.module_dict for each in own)
