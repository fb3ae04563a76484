"""`enable_mmcv_ops`: mmcv's operators without its compiled module."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from rbox_baselines.errors import OperatorError, StackError

_MODULE = "mmcv._ext"  # what mmcv/ops/*.py load their operators from
_OLDEST, _NEWEST = (2, 0, 0), (2, 2, 0)  # of mmcv, for mmrotate 1.0.0rc1 and mmdet 3.1.0 to 3.3.0
_INSTALL = "pip install rbox-baselines (it brings mmcv-lite, mmdet and mmrotate)."


def enable_mmcv_ops() -> None:
    """Make `mmcv.ops`, mmdet and mmrotate work without compiled operators.

    To be called before mmcv.ops, mmdet or mmrotate is imported. Where mmcv has its compiled module, that stays in use.
    Calling it again changes nothing. What MMRotate's models ask for is supplied; any other operator raises an
    OperatorError with its name when it is called.

    Raises:
        StackError: If mmcv is not installed, or of a version that mmdet and mmrotate do not work with.
    """
    _check_version()
    if _MODULE not in sys.modules:
        if is_compiled():
            _check_loads()
        else:
            import mmcv

            sys.modules[_MODULE] = mmcv._ext = _module()
    from rbox_baselines._stack import _mends

    _mends.mend()


def is_compiled() -> bool:
    """Return whether the installed mmcv has operators of its own."""
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        return not isinstance(loaded, _Operators)
    return importlib.util.find_spec(_MODULE) is not None


def _check_version() -> None:
    if importlib.util.find_spec("mmcv") is None:
        raise StackError("expected mmcv or mmcv-lite to be installed, found neither", remedy=_INSTALL)
    for name in ("mmcv", "mmcv-full", "mmcv-lite"):
        version = _installed(name)
        if version is not None and not _OLDEST <= _numbers(version) <= _NEWEST:
            raise StackError(
                f"expected mmcv of version 2.0.0 to 2.2.0, got {name} {version}",
                remedy=f"pip uninstall {name}, then {_INSTALL}",
            )


def _check_loads() -> None:
    """Check that compiled operators load: they fail to if they were compiled for another PyTorch."""
    try:
        importlib.import_module(_MODULE)
    except ImportError as error:
        name = "mmcv" if _installed("mmcv") else "mmcv-full"
        raise StackError(
            f"expected mmcv's compiled operators to load with this PyTorch, got: {error}",
            remedy=f"Compile them again, or do without: pip uninstall {name}, then {_INSTALL}",
        ) from error


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version such as "2.0.1" or "2.1.0rc1"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


class _Operators(ModuleType):
    """Stands for `mmcv._ext`: has every name, since mmcv asks for all of them when `mmcv.ops` is imported."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> None:
            raise OperatorError(
                f"expected an operator that rbox-baselines supplies, got a call of mmcv's {name!r}",
                remedy="No detector of mmdet or MMRotate asks for it. A compiled mmcv 2.1.0 has it, and is used where "
                "it is installed: MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0",
            )

        missing.__name__ = name
        return missing


def _module() -> ModuleType:
    from rbox_baselines._ops import OPERATORS

    module = _Operators(_MODULE)
    # mmengine asks where the compiled module comes from, and takes none for an answer.
    module.__spec__ = ModuleSpec(_MODULE, loader=None)
    module.__dict__.update(OPERATORS)
    # What `mmcv.utils.collect_env` asks of a compiled module.
    about = {"get_compiler_version": "none: operators of rbox-baselines", "get_compiling_cuda_version": "not available"}
    module.__dict__.update({name: partial(str, value) for name, value in about.items()})
    return module
