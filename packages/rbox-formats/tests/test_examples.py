"""Every public function, and every class that is more than an error or a bare result, has an example.

`hatch run doctest` runs them.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import rbox_formats

# The results of functions that have examples, and interfaces.
WITHOUT = {
    *("Advance", "SizedIterable"),
    *("Broken", "ClassSummary", "OnItsSide", "Suspicion", "Turned"),
    *("MapPlace", "Rows", "Summary", "PredictionFile"),
}


def public() -> dict[str, Any]:
    """The functions and classes in each public module's `__all__`, by their full names."""
    names = [module.name for module in pkgutil.iter_modules(rbox_formats.__path__) if not module.name.startswith("_")]
    modules = [
        rbox_formats,
        *(import_module(f"rbox_formats.{name}") for name in names if name not in {"cli", "typing"}),
    ]
    found = {(module, name): getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}
    return {
        f"{module.__name__}.{name}": value
        for (module, name), value in found.items()
        if not isinstance(value, ModuleType) and (inspect.isclass(value) or inspect.isroutine(value))
    }


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_each_has_an_example(name: str) -> None:
    value = PUBLIC[name]
    is_error = inspect.isclass(value) and issubclass(value, Exception) and value is not rbox_formats.RboxError
    assert is_error or value.__name__ in WITHOUT or ">>> " in (value.__doc__ or "")


def test_those_without_are_public() -> None:
    assert {name.rpartition(".")[2] for name in PUBLIC} >= WITHOUT
