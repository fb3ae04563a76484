"""What holds for the public names of the five packages: listed, found, annotated, and known to type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rbox_formats", "rbox_metrics", "lmm_detector", "rbox_baselines", "rbox_serve")
FOLDERS = ("rbox-formats", "rbox-metrics", "lmm-detector", "baselines", "serve")
# Public, but in no `__all__`: a star import would need torch then.
NOT_STARRED = {"rbox_metrics": {"RotatedMeanAveragePrecision", "diff_iou_rotated"}}


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


@cache
def public_modules() -> dict[str, ModuleType]:
    """The packages and their public modules, but for those that hold a command."""
    found = {}
    for package in PACKAGES:
        found[package] = importlib.import_module(package)
        for module in pkgutil.walk_packages(found[package].__path__, f"{package}."):
            if not is_private(module.name) and ".cli." not in module.name and not module.name.endswith("__main__"):
                found[module.name] = importlib.import_module(module.name)
    return found


def names_of(module: ModuleType) -> list[str]:
    return sorted({*getattr(module, "__all__", ()), *NOT_STARRED.get(module.__name__, ())})


@cache
def public_objects() -> dict[str, Any]:
    """Everything that has a public name, by that name."""
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in public_modules().values()
        for name in names_of(module)
    }


def functions(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A function, or a class with its public methods, properties and constructor."""
    if not inspect.isclass(value):
        if inspect.isroutine(value):
            yield name, value
        return
    yield name, value
    for key, member in vars(value).items():
        if isinstance(member, property):
            member = member.fget
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        # A dataclass writes its constructor from annotations of its bases too, whose modules it does not know.
        written = inspect.isfunction(member) and inspect.unwrap(member).__code__.co_filename != "<string>"
        if written and (key == "__init__" or not key.startswith("_")):
            yield f"{name}.{key}", member


@cache
def public_functions() -> dict[str, Any]:
    return {name: value for key, found in public_objects().items() for name, value in functions(key, found)}


def test_every_public_module_lists_its_names() -> None:
    for name, module in public_modules().items():
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
        assert hasattr(module, "__all__") or all(key.startswith("_") for key in own), name


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_has_every_public_name(package: str) -> None:
    module = importlib.import_module(package)
    assert {*names_of(module)} <= {*dir(module)}


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_and_programs_see_the_same_names(package: str) -> None:
    """What is imported for type checkers alone is what loads when it is asked for, from the same modules."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    call = block.orelse[-1].value  # type: ignore[attr-defined]
    homes, *submodules = (ast.literal_eval(value) for value in call.args[1:])
    loaded = {name: (home.partition(":")[0], home.partition(":")[2] or name) for name, home in homes.items()}
    loaded |= {name: (package, name) for name in (submodules or [()])[0]}
    assert loaded == seen
    assert {*loaded} <= {*names_of(module)}
    for name, (home, attribute) in loaded.items():
        if name not in module.__dict__.get("__all__", ()):
            continue
        assert getattr(module, name) is getattr(importlib.import_module(home), attribute), name


def test_hints_of_everything_public_resolve() -> None:
    broken = {}
    for name, value in public_functions().items():
        try:
            typing.get_type_hints(value)
        except Exception as error:
            broken[name] = f"{type(error).__name__}: {error}"
    assert not broken


def test_choices_that_signatures_name_can_be_imported() -> None:
    """`Literal` aliases in annotations of public functions have a public name."""
    public = [value for value in public_objects().values() if typing.get_origin(value) is typing.Literal]
    hidden = {}
    for name, value in public_functions().items():
        module = vars(sys.modules[inspect.unwrap(value).__module__])
        for annotation in vars(value).get("__annotations__", {}).values():
            for node in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(annotation, str) else ():
                alias = module.get(node.id) if isinstance(node, ast.Name) else None
                if typing.get_origin(alias) is typing.Literal and not any(alias is known for known in public):
                    hidden[name] = ast.unparse(node)
    assert not hidden


@pytest.mark.slow
def test_a_misspelt_name_is_an_error_to_type_checkers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of the packages, whose own sources are read and nothing else: numpy and torch would take minutes."""
    api = pytest.importorskip("mypy.api")

    right = {package: names_of(importlib.import_module(package))[-1] for package in PACKAGES}
    lines = [f"import {', '.join(PACKAGES)}"]
    for package, name in right.items():
        lines += [f"{package}.{name}", f"{package}.{name}x"]
    code = tmp_path / "misspelt.py"
    code.write_text("\n".join(lines))
    monkeypatch.setenv("MYPYPATH", ":".join(str(ROOT / "packages" / folder / "src") for folder in FOLDERS))
    options = ["--config-file=", "--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent"]
    output, _, status = api.run([*options, f"--cache-dir={tmp_path}", str(code)])
    assert status == 1
    found = re.findall(r'error: Module has no attribute "(\w+)"', output)
    assert found == [f"{name}x" for name in right.values()], output


@pytest.mark.parametrize(
    "package, old, new",
    [
        ("lmm_detector", "convert", "convert_checkpoint"),
        ("lmm_detector", "merge", "merge_adapters"),
        ("lmm_detector", "evaluate", "evaluate_file"),
        ("rbox_baselines", "evaluate", "evaluate_file"),
    ],
)
def test_a_name_of_the_version_before_still_works_and_says_the_new_one(package: str, old: str, new: str) -> None:
    """`convert`, `merge` and `evaluate` meant something else in each package."""
    module = importlib.import_module(package)
    with pytest.warns(FutureWarning, match=f"{package}.{old} is called {new} now"):
        assert getattr(module, old) is getattr(module, new)
    assert old not in dir(module)
