"""Codecs: boxes to the text that a model is taught to write, and back. A module for each text format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._decoded import Decoded, DecodeWarning, OnInvalid, Rejected, Status, joined_status
from rbox_formats.codecs._stream import StreamDecoder, StreamedBox
from rbox_formats.codecs.allseeing import AllSeeing
from rbox_formats.codecs.cogvlm import CogVLM
from rbox_formats.codecs.earthdial import EarthDial
from rbox_formats.codecs.falcon import Falcon
from rbox_formats.codecs.florence2 import Florence2
from rbox_formats.codecs.gemini import Gemini
from rbox_formats.codecs.geochat import GeoChat
from rbox_formats.codecs.internvl import InternVL
from rbox_formats.codecs.kosmos2 import Kosmos2
from rbox_formats.codecs.paligemma import PaliGemma
from rbox_formats.codecs.plain import Plain
from rbox_formats.codecs.qwen2_5_vl import Qwen25VL
from rbox_formats.codecs.qwen2_vl import Qwen2VL
from rbox_formats.codecs.qwen3_vl import Qwen3VL
from rbox_formats.codecs.rex_omni import RexOmni
from rbox_formats.codecs.rscovlm import RSCoVLM
from rbox_formats.codecs.shikra import Shikra
from rbox_formats.codecs.skysensegpt import SkySenseGPT
from rbox_formats.codecs.teochat import TEOChat
from rbox_formats.codecs.vrsbench import VRSBench
from rbox_formats.errors import CodecError, quoted

__all__ = [
    "CODECS",
    "Codec",
    "DecodeWarning",
    "Decoded",
    "Florence2",
    "OnInvalid",
    "Rejected",
    "Status",
    "StreamDecoder",
    "StreamedBox",
    "from_dict",
    "get",
    "joined_status",
]

_CLASSES: tuple[type[Codec], ...] = (
    # These hold rotation,
    Florence2,
    AllSeeing,
    RSCoVLM,
    GeoChat,
    EarthDial,
    SkySenseGPT,
    VRSBench,
    Falcon,
    Plain,
    # these hold upright boxes.
    Qwen2VL,
    Qwen25VL,
    Qwen3VL,
    InternVL,
    PaliGemma,
    Kosmos2,
    CogVLM,
    Gemini,
    RexOmni,
    Shikra,
    TEOChat,
)
CODECS: dict[str, type[Codec]] = {codec.name: codec for codec in _CLASSES}


def get(name: str, /, **options: Any) -> Codec:
    """Return the codec of this name, with the given options.

    >>> get("florence2", version=3).to_dict()
    {'name': 'florence2', 'version': 3}

    Raises:
        CodecError: If there is no codec of that name, or it has no such option.
    """
    if not isinstance(name, str) or name not in CODECS:
        raise CodecError(f"expected a codec among {', '.join(CODECS)}, got {quoted(name)}")
    known = [field.name for field in fields(CODECS[name])]
    if unknown := [option for option in options if option not in known]:
        has = f"the options {', '.join(known)}" if known else "no options"
        raise CodecError(f"expected {has} of codec {quoted(name)}, got {', '.join(unknown)}")
    return CODECS[name](**options)


def from_dict(values: Mapping[str, Any]) -> Codec:
    """Return the codec that `Codec.to_dict` described, for example in a checkpoint.

    >>> from_dict({"name": "florence2", "version": 3}).empty_answer
    'There are none.'

    Raises:
        CodecError: If `values` does not describe a codec.
    """
    options = dict(values)
    return get(options.pop("name", ""), **options)
