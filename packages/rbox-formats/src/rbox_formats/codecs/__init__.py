"""Codecs: boxes to the text that a model is taught to write, and back. A module for each text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rbox_formats.codecs._base import Codec, Decoded, DecodeWarning, Rejected
from rbox_formats.codecs.florence2 import Florence2
from rbox_formats.errors import CodecError

__all__ = ["CODECS", "Codec", "DecodeWarning", "Decoded", "Florence2", "Rejected", "from_dict", "get"]

CODECS: dict[str, type[Codec]] = {
    "florence2": Florence2,
}


def get(name: str, /, **options: Any) -> Codec:
    """The codec of a name.

    >>> get("florence2", version=3).to_dict()
    {'name': 'florence2', 'version': 3}

    Raises:
        CodecError: If there is none of that name, or it has no such option.
    """
    if name not in CODECS:
        raise CodecError(f"expected a codec among {', '.join(CODECS)}, got {name!r}")
    try:
        return CODECS[name](**options)
    except TypeError as error:
        raise CodecError(f"expected the options of codec {name!r}, got {options}: {error}") from error


def from_dict(values: Mapping[str, Any]) -> Codec:
    """The codec that `Codec.to_dict` described, as a checkpoint carries it.

    >>> from_dict({"name": "florence2", "version": 3}).empty_answer
    'There are none.'

    Raises:
        CodecError: If it describes none.
    """
    options = dict(values)
    return get(options.pop("name", ""), **options)
