"""`enable_mmcv_ops`: what it puts in place, what it leaves alone, and what it says where nothing fits."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rbox_baselines import enable_mmcv_ops
from rbox_baselines.errors import OperatorError, StackError


def test_doing_it_again_changes_nothing(mmrotate: ModuleType) -> None:
    before = sys.modules["mmcv._ext"]
    enable_mmcv_ops()
    assert sys.modules["mmcv._ext"] is before


def test_an_operator_that_is_missing_says_so_when_it_is_called(mmrotate: ModuleType) -> None:
    from mmcv.ops import PSAMask

    with pytest.raises(OperatorError, match=r"'psamask_forward'\n.*2\.1\.0 has it"):
        PSAMask("collect", (3, 3))(torch.zeros(1, 9, 2, 2))


def test_old_names_are_there_only_while_mmrotate_is_imported(mmrotate: ModuleType) -> None:
    import collections

    assert not hasattr(collections, "Sequence")


@pytest.mark.parametrize(
    "installed, message",
    [
        ({"mmcv": "2.3.0"}, r"expected mmcv of version 2.0.0 to 2.2.0, got mmcv 2.3.0\npip uninstall mmcv, then pip"),
        ({"mmcv-full": "1.7.2", "mmcv-lite": "2.0.1"}, r"got mmcv-full 1.7.2\npip uninstall mmcv-full"),
        ({"mmcv-lite": "2.3.0rc1"}, "got mmcv-lite 2.3.0rc1"),
    ],
)
def test_a_wrong_version_is_named(
    installed: dict[str, str], message: str, mmrotate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(StackError, match=message):
        enable_mmcv_ops()


_PROGRAM = """
import sys, mmcv
from rbox_baselines import enable_mmcv_ops
from rbox_baselines._stack import _mends
from rbox_baselines.errors import StackError
mmcv.__path__.append(sys.argv[1])
_mends.mend = lambda: None
try:
    enable_mmcv_ops()
except StackError as error:
    print(error)
sys.argv[1:] = ["loads"]
enable_mmcv_ops()
print(sys.modules["mmcv._ext"].__file__)
"""


@pytest.mark.slow
def test_a_compiled_module_is_left_alone_or_named(tmp_path: Path) -> None:
    """One that was compiled for another PyTorch fails as a missing symbol does."""
    module = tmp_path / "_ext.py"
    module.write_text("import sys\nif sys.argv[1:] != ['loads']: raise ImportError('undefined symbol: _ZN3c10')")
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, tmp_path], capture_output=True, text=True, check=True
    )
    message, remedy, file = found.stdout.strip().splitlines()
    assert message == ("expected mmcv's compiled operators to load with this PyTorch, got: undefined symbol: _ZN3c10")
    assert "pip uninstall mmcv" in remedy
    assert file == str(module)


def test_what_mmcv_says_of_its_environment(mmrotate: ModuleType) -> None:
    from mmcv.utils import collect_env

    assert collect_env()["MMCV Compiler"] == "none: operators of rbox-baselines"
