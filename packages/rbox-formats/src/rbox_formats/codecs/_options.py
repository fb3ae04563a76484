"""Check a codec's options when it is made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rbox_formats.errors import CodecError, quoted


def one_of(codec: Any, option: str, choices: Collection[Any]) -> None:
    """Raise a `CodecError` unless a codec's option is one of the choices, and of their type: True is not 1."""
    value = getattr(codec, option)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        listed = ", ".join(map(repr, choices))
        raise CodecError(f"expected {option} of {codec.name} among {listed}, got {quoted(value)}")
