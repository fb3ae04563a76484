"""Check that every class that a config names exists, before anything is built; say what is wrong where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError

from rbox_formats.errors import RboxError, quoted, said

from rbox_baselines._configs._names import nearest
from rbox_baselines._configs._quiet import quiet
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.registry import Registry

#: The settings of a config that hold classes, and the registries of mmengine that build them, by its names for these;
#: more than one: any of them.
SECTIONS: dict[str, tuple[str, ...]] = {
    "model": ("MODELS", "TASK_UTILS"),  # assigners, samplers and coders are in the second
    "train_dataloader": (),
    "val_dataloader": (),
    "test_dataloader": (),
    "val_evaluator": ("METRICS",),
    "test_evaluator": ("METRICS",),
    "optim_wrapper": ("OPTIM_WRAPPERS",),
    "param_scheduler": ("PARAM_SCHEDULERS",),
    "default_hooks": ("HOOKS",),
    "custom_hooks": ("HOOKS",),
    "visualizer": ("VISUALIZERS",),
    "log_processor": ("LOG_PROCESSORS",),
}

#: The same for what stands under a key somewhere in a section.
KEYS: dict[str, tuple[str, ...]] = {
    "init_cfg": ("WEIGHT_INITIALIZERS",),
    "dataset": ("DATASETS",),
    "datasets": ("DATASETS",),
    "pipeline": ("TRANSFORMS",),
    "switch_pipeline": ("TRANSFORMS",),
    "sampler": ("DATA_SAMPLERS", "TASK_UTILS"),  # of a loader's images, of a model's boxes
    "batch_sampler": ("DATA_SAMPLERS",),
    "collate_fn": ("FUNCTIONS",),
    "optimizer": ("OPTIMIZERS",),
    "vis_backends": ("VISBACKENDS",),
}

#: Under these a `type` names a function of mmcv.ops.
OPERATORS = ("nms", "roi_layer")

#: Under these a `type` names no class.
SKIPPED = ("clip_grad", "metainfo", "backend_args", "file_client_args")


@contextmanager
def buildable(config: Config, remedy: str) -> Iterator[None]:
    """Turn whatever a model's own code raises, while the block builds it, into one error.

    Args:
        config: The model's config, whose file is named.
        remedy: What the user can do.

    Raises:
        ConfigError: If the config's parts do not take what it says.
    """
    try:
        yield
    except (RboxError, URLError):
        raise
    except Exception as error:
        raise ConfigError(
            f"expected a config from which a model can be built, got {type(error).__name__}: {said(error)}",
            path=config.filename,
            remedy=remedy,
        ) from error


class _Named(NamedTuple):
    """A class that a config names, its place, and the registries that may have it; empty for a function of mmcv.ops."""

    place: str
    name: str
    registries: tuple[str, ...]


def check_types(config: Config, *, is_stored: bool = False) -> None:
    """Look up every class that a config names for model, data, scores, optimiser and hooks; nothing is built.

    `enable_mmcv_ops` comes first. Loops (`train_cfg` and its like) are mmengine's own.

    Args:
        config: The config.
        is_stored: Whether it came with a checkpoint, whose `custom_imports` are not imported.

    Raises:
        ConfigError: If one is not registered: which, where, in which registry it was looked for, what is near to it.
    """
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmrotate")), quiet():
        for section, registries in SECTIONS.items():
            for named in _named(config.get(section), registries, section):
                _check(named, config, is_stored)


def _named(value: Any, registries: tuple[str, ...], place: str) -> Iterator[_Named]:
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str):  # it may be a class
            yield _Named(f"{place}.type", kind, registries)
        for key, inner in value.items():
            if key in OPERATORS:
                yield from _named(inner, (), f"{place}.{key}")
            elif key not in SKIPPED:
                yield from _named(inner, KEYS.get(key, registries), f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _named(inner, registries, f"{place}[{index}]")


def _check(named: _Named, config: Config, is_stored: bool) -> None:
    if not named.registries:
        import mmcv.ops

        known, where = vars(mmcv.ops), "mmcv.ops"
        if named.name in known:
            return
    else:
        import mmengine.registry

        registries = [getattr(mmengine.registry, name) for name in named.registries]
        if any(_has(registry, named.name) for registry in registries):
            return
        known = dict.fromkeys(name for registry in registries for name in _names(registry))
        where = f"the registry {' or '.join(named.registries)}"
    raise ConfigError(
        f"expected {named.place} to be in {where}, got {quoted(named.name)}",
        path=config.filename,
        remedy=_remedy(named.name, known, is_stored),
    )


def _has(root: Registry, name: str) -> bool:
    with root.switch_scope_and_registry(None) as registry:  # that of the default scope, as when it builds
        try:
            return registry.get(name) is not None
        except RuntimeError:  # a name with dots that cannot be imported
            return False


def _names(root: Registry) -> Iterator[str]:
    """Return the contents of a registry and those below it, named as in a config of the default scope."""
    with root.switch_scope_and_registry(None) as own:
        for registry in (root, *root.children.values()):
            prefix = "" if registry in (root, own) else f"{registry.scope}."
            yield from (prefix + name for name in registry.module_dict)


def _remedy(name: str, known: Any, is_stored: bool) -> str:
    package = name.partition(".")[0]
    if "." in name and find_spec(package) is None:
        now = {"mmcls": "mmpretrain"}.get(package, package)
        renamed = "" if now == package else f" (which is now {now}, and so is the name in the config)"
        return f"It is of {package}{renamed}, which is not installed: pip install {now}"
    near = nearest(name, known)
    own = (
        "A class of your own is imported for a config that you name (--config), and never for the one in a checkpoint."
        if is_stored
        else "A class of your own is registered by a module in the config's custom_imports."
    )
    return f"{near} {own}".strip()
