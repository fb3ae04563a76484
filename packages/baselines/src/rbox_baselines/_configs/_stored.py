"""The config that a checkpoint carries: taken where it names parts of a detector, and nothing else.

Who sends a checkpoint sends its config, and a config names what is built: mmengine imports and calls whatever that is.
Of a stored config only the model, the test pipeline and the names of the classes are taken, and there every name is
looked for among the classes that mmdet, MMRotate, mmengine and this package register, before anything is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rbox_formats.errors import quoted

from rbox_baselines._configs import _load, _text
from rbox_baselines._configs._pipelines import kind_of
from rbox_baselines._stack._registered import SCOPES
from rbox_baselines.errors import CheckpointError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.registry import Registry


class _Room(NamedTuple):
    """The registries and modules in which classes of a kind may be.

    Attributes:
        registries: The names, in mmengine, of the registries to look into.
        modules: Those in which such classes, and no others, are defined.
    """

    registries: tuple[str, ...]
    modules: tuple[str, ...]


#: Trackers, language models and wrappers of other libraries are registered too, but do more than compute: they evaluate
#: texts, read other configs, fetch weights.
_MODEL = _Room(
    ("MODELS", "TASK_UTILS"),
    (
        *(
            f"mmdet.models.{room}"
            for room in (
                "backbones",
                "data_preprocessors",
                "dense_heads",
                "detectors",
                "layers",
                "losses",
                "necks",
                "roi_heads",
                "seg_heads",
                "task_modules.assigners",
                "task_modules.coders",
                "task_modules.prior_generators",
                "task_modules.samplers",
            )
        ),
        "mmrotate.models",
        "mmcv.cnn",
        "mmcv.ops",
        "mmengine.model.base_model",
        "mmengine.utils.dl_utils.parrots_wrapper",
        "torch.nn",
        "rbox_baselines._parts",
    ),
)
_INITIALIZERS = _Room(("WEIGHT_INITIALIZERS",), ("mmengine.model.weight_init",))
_TRANSFORMS = _Room(
    ("TRANSFORMS",),
    (
        "mmcv.transforms.formatting",
        "mmcv.transforms.processing",
        "mmcv.transforms.wrappers",
        "mmdet.datasets.transforms.colorspace",
        "mmdet.datasets.transforms.formatting",
        "mmdet.datasets.transforms.geometric",
        "mmdet.datasets.transforms.transforms",
        "mmrotate.datasets.transforms.transforms",
        "rbox_baselines._parts",
    ),
)
_DATASETS = _Room(("DATASETS",), ("mmdet.datasets", "mmrotate.datasets", "rbox_baselines._parts"))

#: In the rooms, but they read configs and weights of other models when they are made, or need another library.
_LOADERS = (
    "mmdet.models.detectors.d2_wrapper",
    "mmdet.models.detectors.glip",
    "mmdet.models.detectors.kd_one_stage",
    "mmdet.models.detectors.lad",
)

#: Under these a `type` is the name of a function or class of mmcv.ops; that under "nms" is evaluated as Python there.
_OPERATORS: dict[str, tuple[str, ...]] = {
    "nms": ("nms", "nms_quadri", "nms_rotated", "soft_nms"),
    "roi_layer": (
        "DeformRoIPoolPack",
        "ModulatedDeformRoIPoolPack",
        "RiRoIAlignRotated",
        "RoIAlign",
        "RoIAlignRotated",
    ),
}
_REMEDY = "Nothing of it was run. Where you trust the checkpoint, give its config as a file of your own: --config."


def load_stored(text: str) -> Config:
    """Read the config that a checkpoint carries; no part of it is run, imported, fetched or written.

    Args:
        text: Python assignments of plain values, as mmengine writes them.

    Returns:
        Its model, its test pipeline without what reads files and annotations, and its classes.

    Raises:
        CheckpointError: If it is no config, or names anything but a registered part of a detector: which, and where.
    """
    from mmengine.config import Config

    stored = _text.config_from_text(text).to_dict()
    _load.set_up()
    model = stored.get("model")
    if not isinstance(model, dict) or "type" not in model:
        raise CheckpointError("expected a config with a model, got one without", remedy=_REMEDY)
    taken = {"model": model, **_classes(stored)}
    _look_through(model, _MODEL, "model")
    for name in ("test_dataloader", "val_dataloader"):
        if stored.get(name):
            pipeline = _pipeline(stored[name], name)
            _look_through(pipeline, _TRANSFORMS, f"{name}.dataset.pipeline")
            taken["test_dataloader"] = {"dataset": {"pipeline": pipeline}}
            break
    return _load.ready(Config(taken))


def _pipeline(loader: Any, name: str) -> list[dict[str, Any]]:
    """Return the transforms of a data loader without those that read files: images come from elsewhere."""
    place = f"{name}.dataset.pipeline"
    steps = _innermost(loader, name).get("pipeline")
    if not isinstance(steps, list | tuple):
        raise _refused(place, "be a list", steps)
    for index, step in enumerate(steps):
        if not isinstance(_dict(step, f"{place}[{index}]").get("type"), str):
            raise _refused(f"{place}[{index}].type", "name a transform", step.get("type"))
    return [step for step in steps if not kind_of(step).startswith("Load")]


def _classes(stored: dict[str, Any]) -> dict[str, Any]:
    """Return what defines the classes: the training dataset's own names, and its kind, which may have names too."""
    if not stored.get("train_dataloader"):
        return {}
    dataset = _innermost(stored["train_dataloader"], "train_dataloader")
    found = {name: dataset[name] for name in ("type", "metainfo") if name in dataset}
    if not isinstance(found.get("type"), str) or _registered(found["type"], _DATASETS, "mmrotate") is None:
        found.pop("type", None)  # a kind of dataset that is not known here, whose classes its name would not tell
    return {"train_dataloader": {"dataset": found}}


def _innermost(loader: Any, name: str) -> dict[str, Any]:
    """Return what `innermost` does, of a data loader that may have anything in it."""
    place = f"{name}.dataset"
    dataset = _dict(_dict(loader, name).get("dataset"), place)
    while inner := [dataset[key] for key in ("dataset", "datasets") if key in dataset]:
        dataset = _dict(inner[0][0] if _is_list(inner[0]) else inner[0], place)
    return dataset


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0


def _dict(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(place, "be a dict", value)
    return value


def _look_through(value: Any, room: _Room, place: str, scope: str = "mmrotate", operators: str | None = None) -> None:
    """Look at every name and value; `operators` is the key of `_OPERATORS` under which they stand.

    Raises:
        CheckpointError: At the first that is not to be taken.
    """
    if isinstance(value, dict):
        scope = value.get("_scope_", scope)
        if scope not in SCOPES:
            raise _refused(f"{place}._scope_", f"be one of {', '.join(SCOPES)}", scope)
        if "type" in value:
            _look_at(value["type"], room, f"{place}.type", scope, operators)
        for key, inner in value.items():
            if not isinstance(key, str | int):
                raise _refused(place, "have names as keys", key)
            below = _INITIALIZERS if key == "init_cfg" else room
            _look_through(inner, below, f"{place}.{key}", scope, key if key in _OPERATORS else operators)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _look_through(inner, room, f"{place}[{index}]", scope, operators)
    elif not isinstance(value, str | int | float | set | None):
        raise _refused(place, "be a plain value", value)


def _look_at(name: Any, room: _Room, place: str, scope: str, operators: str | None) -> None:
    if operators is not None:
        if name not in _OPERATORS[operators]:
            raise _refused(place, f"be one of {', '.join(_OPERATORS[operators])}", name)
    elif not isinstance(name, str) or _registered(name, room, scope) is None:
        raise _refused(
            place, "name a part of a detector that mmdet, MMRotate, mmengine or rbox-baselines registers", name
        )


def _registered(name: str, room: _Room, scope: str) -> Any:
    """Return the class of a name in a registry, if it is of the room. As `Registry.get`, but imports nothing."""
    import mmengine.registry

    prefix, _, plain = name.rpartition(".")
    if prefix and prefix not in SCOPES:
        return None
    for root in (getattr(mmengine.registry, each) for each in room.registries):
        registry: Registry | None = _below(root, prefix or scope) or root
        while registry is not None:
            registry.import_from_location()
            if plain in registry.module_dict:
                kind = registry.module_dict[plain]
                return kind if _is_in(getattr(kind, "__module__", ""), room.modules) else None
            registry = None if prefix else registry.parent
    return None


def _below(root: Registry, scope: str) -> Registry | None:
    if root.scope == scope:
        return root
    return next((found for child in root.children.values() if (found := _below(child, scope))), None)


def _is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{room}.") for room in rooms) and module not in _LOADERS


def _refused(place: str, expected: str, found: Any) -> CheckpointError:
    return CheckpointError(
        f"expected {place} of the checkpoint's config to {expected}, got {quoted(found)}", remedy=_REMEDY
    )
