"""Registries that build only what is registered: no name of anything else is imported.

`Registry.get` of mmengine imports whatever a dotted name names when no class of that name is registered, and `_scope_`
and a name's first part import the module `registry` of any package. So a config decides what runs. That suits a user's
own config, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

#: The packages whose registries may be named, as scopes of mmengine's.
SCOPES = ("mmengine", "mmdet", "mmrotate")

_alone: ContextVar[bool] = ContextVar("_alone", default=False)


@contextmanager
def registered_alone() -> Iterator[None]:
    """Make mmengine's registries build only what is registered, in this thread, as long as the block lasts.

    A second wall: configs of others are looked through before (`_configs._stored`), but a class may make names for the
    registry of its other settings.
    """
    guard()
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def guard() -> None:
    """Put the check in place. Doing it again changes nothing."""
    from mmengine.registry import registry

    if registry.import_module is import_module:
        by_name = registry.get_object_from_string

        def get_object_from_string(name: str) -> Any:
            if _alone.get():
                raise ImportError(f"{name} is not registered")
            return by_name(name)

        def import_registry(name: str) -> Any:
            if _alone.get() and name.partition(".")[0] not in SCOPES:
                raise ImportError(f"{name} is of no package of the stack")
            return import_module(name)

        registry.get_object_from_string = get_object_from_string
        registry.import_module = import_registry
