"""Configs that checkpoints carry: what they may name, and that nothing else is imported, built, fetched or written."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rbox_baselines._configs import _load, _stored, _zoo
from rbox_baselines._configs._pipelines import innermost
from rbox_baselines._configs._stored import load_stored
from rbox_baselines._stack._registered import registered_alone
from rbox_baselines.errors import BaselinesError, CheckpointError
from rbox_testing.small_retinanet import ZOO_NAME


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: ModuleType) -> None:
    pass


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is to be refused is refused before a registry is asked to build."""
    from mmengine.registry import Registry

    def build(self: object, *arguments: object, **options: object) -> None:
        raise AssertionError(f"built: {arguments}")

    monkeypatch.setattr(Registry, "build", build)


def stored(name: str = ZOO_NAME) -> dict[str, Any]:
    """What a checkpoint of a zoo's model carries."""
    return dict(_load.ready(_zoo.load_zoo(name)).to_dict())


def text_of(config: dict[str, Any]) -> str:
    """As a program of the same values; mmengine's `pretty_text` takes a second."""
    return "\n".join(f"{name} = {value!r}" for name, value in config.items())


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a config at which another value may be put."""
    yield at
    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


def put(config: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place."""
    if not at:
        return value
    found = list(config) if isinstance(config, tuple) else copy.copy(config)
    found[at[0]] = put(found[at[0]], at[1:], value) if at[1:] else value
    return found


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that leaves a mark when it is imported, also as a scope."""
    mark = tmp_path / "mark"
    package = tmp_path / "rbox_evil"
    package.mkdir()
    (package / "__init__.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nEvil = dict\n")
    (package / "registry.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    for name in ("rbox_evil", "rbox_evil.registry"):
        sys.modules.pop(name, None)


NAMES = list(_zoo.zoo())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if number % 9 else []) for number, name in enumerate(NAMES)]
)
def test_what_the_zoo_trains_is_taken(name: str) -> None:
    config = _zoo.load_zoo(name)
    taken = load_stored(text_of(config.to_dict()))
    assert taken.model.to_dict() == config.model.to_dict()
    steps = [dict(step) for step in innermost(config.test_dataloader.dataset).pipeline]
    assert taken.test_dataloader.dataset.pipeline == [step for step in steps if "Load" not in step["type"]]
    assert _load.class_names_of(taken) == _load.class_names_of(config) is not None


@pytest.mark.parametrize(
    "kind", ["rbox_evil.Evil", *(pytest.param(each, marks=pytest.mark.slow) for each in ("os.system", "exit", "x.y.z"))]
)
def test_no_place_takes_a_name_that_is_not_registered(kind: str, evil: Path) -> None:
    """Not as a part where another or none was, not as the kind of one that is there, not within one."""
    config = stored()
    for at in [at for name in ("model", "test_dataloader") for at in places(config[name], (name,))]:
        value = kind if at[-1] == "type" else {"type": kind}
        taken = None
        with contextlib.suppress(CheckpointError):
            taken = load_stored(text_of(put(config, at, value)))
        if taken is not None:  # what is there is left out
            assert at[0] == "test_dataloader", at
            assert kind not in repr(taken.to_dict()["test_dataloader"]), at
    assert not evil.exists()


ANY_PYTHON = "__import__('os').mkdir('made')"


@pytest.mark.parametrize(
    "place, value, told",
    [
        ("test_cfg.rcnn.nms.type", ANY_PYTHON, "nms_rotated"),  # mmcv evaluates it
        ("test_cfg.rcnn.nms.type", ANY_PYTHON.encode(), "nms_rotated"),
        ("test_cfg.rcnn.nms.type", "print", "nms_rotated"),
        ("roi_head.bbox_roi_extractor.0.roi_layer.type", "nms", "RoIAlignRotated"),
        ("rpn_head.bbox_coder", {"type": "CameraMotionCompensation", "warp_mode": ANY_PYTHON}, "bbox_coder.type"),
        ("rpn_head.bbox_coder", {"type": "mmdet.CameraMotionCompensation", "warp_mode": ANY_PYTHON}, "bbox_coder.type"),
        ("neck", {"type": "mmdet.BertModel", "name": "someone/model"}, "neck.type"),  # fetches it
        ("backbone", {"type": "mmdet.KnowledgeDistillationSingleStageDetector", "teacher_config": "x.py"}, "backbone"),
        ("backbone.norm_cfg.type", "torch.nn.BatchNorm2d", "norm_cfg.type"),
        ("backbone.norm_cfg.type", "mmdet.models.ResNet", "norm_cfg.type"),
        ("backbone.norm_cfg.type", ".ResNet", "norm_cfg.type"),
        ("backbone.norm_cfg.type", "", "norm_cfg.type"),
        ("backbone.norm_cfg.type", None, "norm_cfg.type"),
        ("backbone.norm_cfg.type", ["BN"], "norm_cfg.type"),
        ("backbone._scope_", "antigravity", "_scope_"),
        ("backbone._scope_", ["mmdet"], "_scope_"),
        ("backbone.init_cfg.type", "os.system", "init_cfg.type"),
        ("backbone.stem", b"x", "backbone.stem"),
    ],
)
def test_what_a_model_may_not_name(
    place: str, value: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = tuple(int(key) if key.isdigit() else key for key in place.split("."))
    config = put(stored("roi-trans-le90_r50_fpn_1x_dota"), ("model", *at), value)
    with pytest.raises(CheckpointError, match=told):
        load_stored(text_of(config))
    assert not any(tmp_path.iterdir())


def test_what_is_not_taken_is_not_looked_at(evil: Path) -> None:
    """Hooks, optimisers and imports of who trained it do not keep it from detecting."""
    config = stored() | {
        "custom_imports": {"imports": ["rbox_evil"], "allow_failed_imports": False},
        "custom_hooks": [{"type": "rbox_evil.Evil"}],
        "optim_wrapper": {"type": "rbox_evil.Evil"},
        "load_from": "https://localhost/x.pth",
        "default_scope": "rbox_evil",
    }
    taken = load_stored(text_of(config)).to_dict()
    assert "rbox_evil" not in repr(taken)
    assert taken.get("load_from") is None
    assert not evil.exists()


@pytest.mark.parametrize(
    "value",
    [
        {},
        *(pytest.param(each, marks=pytest.mark.slow) for each in (None, "x", 3, [], [None], {"type": "mmdet.Resize"})),
    ],
    ids=repr,
)
def test_a_config_of_another_shape_is_an_error_of_ours(value: Any) -> None:
    config = stored()
    for at in places(config):
        if at[:1] in (("test_dataloader",), ("model",), ("train_dataloader",)) and len(at) < 4:
            with contextlib.suppress(BaselinesError):
                load_stored(text_of(put(config, at, value)))


def test_registries_import_nothing_while_registered_classes_alone_are_built(evil: Path) -> None:
    """The second wall, for names that a class makes of its settings; behind it a user's own configs import."""
    from mmengine.registry import MODELS

    with registered_alone():
        for name in ("rbox_evil.Evil", "rbox_evil"):
            with pytest.raises(RuntimeError, match=name):
                MODELS.get(name)
        with MODELS.switch_scope_and_registry("rbox_evil"):
            pass
        assert MODELS.get("mmdet.ResNet") is not None
    assert not evil.exists()
    assert MODELS.get("rbox_evil.Evil") is dict
    assert evil.exists()


# What runs, imports, reads or fetches. mmcv's `nms` evaluates the name of its kind, which is looked at; the others load
# weights in `init_weights`, which is never called.
RUNS = re.compile(
    r"(?<![.\w])eval\(|\bexec\(|import_module|fromfile|load_checkpoint\(|nltk|urlopen|subprocess|os\.system"
)
KNOWN = {
    *("mmcv.cnn.vgg", "mmcv.ops.nms", "mmdet.models.backbones.detectors_resnet", "mmdet.models.backbones.pvt"),
    "mmdet.models.backbones.swin",
}


def test_nothing_that_may_be_named_runs_what_a_config_says() -> None:
    """Of the sources of all that may be built, in the versions that are installed."""
    from mmengine import registry

    modules = {"mmcv.ops.nms"}
    for room in (_stored._MODEL, _stored._TRANSFORMS):
        for root in (getattr(registry, name) for name in room.registries):
            for each in (root, *root.children.values()):
                kinds = [kind for kind in each.module_dict.values() if _stored._is_in(kind.__module__, room.modules)]
                modules |= {base.__module__ for kind in kinds for base in inspect.getmro(kind)}
    modules = {name for name in modules if name.partition(".")[0] in ("mmcv", "mmdet", "mmrotate", "rbox_baselines")}
    assert len(modules) > 150
    assert {name for name in modules if RUNS.search(inspect.getsource(sys.modules[name]))} == KNOWN
