"""Public names of a package that are loaded when they are first used (PEP 562).

The five packages define their names this way, so that `import` and `--help` answer at once. A package's `__init__`
lists each name twice: in an import for type checkers, which see no `__getattr__` and so report misspelt names, and in a
table for the running program.

    if TYPE_CHECKING:
        from package._engine import train
    else:
        __getattr__, __dir__ = lazy.attach(__name__, {"train": "package._engine"})
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, homes: Mapping[str, str], submodules: Iterable[str] = (), *, renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the functions `__getattr__` and `__dir__` of a package.

    >>> load, names = attach("rbox_formats", {"Codec": "rbox_formats.codecs"})
    >>> load("Codec").__name__
    'Codec'

    Args:
        package: The package's `__name__`.
        homes: For each name, the module that holds it, or "module:name" if the module calls it by another name.
        submodules: The modules of the package that are public names, too.
        renamed: Names of the version before, each with its new one: they still work, and warn.

    Returns:
        A function that loads a name when it is first used and keeps it in the package, and a function that lists all
        names of the package, loaded or not.
    """
    modules = frozenset(submodules)
    old = renamed or {}

    def load(name: str) -> Any:
        """Load a name of the package when it is first used."""
        if name in modules:
            return import_module(f"{package}.{name}")
        if name in old:
            warnings.warn(f"{package}.{name} is called {old[name]} now", FutureWarning, stacklevel=2)
            return load(old[name])
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        value = getattr(import_module(module), attribute or name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        """List the names of the package, loaded or not."""
        return sorted({*vars(sys.modules[package]), *homes, *modules})

    return load, names
