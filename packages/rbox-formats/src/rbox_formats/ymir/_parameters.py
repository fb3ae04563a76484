"""A task's parameters as a dataclass: read from config.yaml, and written as the template that the platform shows."""

from __future__ import annotations

import json
import logging
import math
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rbox_formats.errors import quoted
from rbox_formats.ymir._config import PLATFORM_KEYS, TaskConfig
from rbox_formats.ymir._errors import TaskError

logger = logging.getLogger("rbox_formats")

T = TypeVar("T")
_WIDTH = 100


def parameter(default: Any, text: str, *, shown: bool = True, **bounds: float) -> Any:
    """Return a field of a dataclass of parameters.

    >>> from dataclasses import dataclass
    >>> from rbox_formats import ymir
    >>> @dataclass(frozen=True)
    ... class Parameters:
    ...     img_size: int = ymir.parameter(512, "The longer side of images, in pixels.", ge=32)
    >>> print(ymir.template(Parameters).strip())
    # The longer side of images, in pixels.
    img_size: 512

    Args:
        default: Its value where config.yaml has none.
        text: What it is, as a sentence.
        shown: Whether the template has it; those that it has not are honoured where somebody adds them.
        **bounds: The least ("ge") and the greatest ("le") number.
    """
    return field(default=default, metadata={"text": text, "shown": shown, "bounds": bounds})


def template(kind: type) -> str:
    """Return the YAML file of a task's parameters, with a comment for each, as `/img-man` holds it.

    >>> from dataclasses import make_dataclass
    >>> from rbox_formats import ymir
    >>> kind = make_dataclass("Parameters", [("seed", int, ymir.parameter(0, "The random seed."))])
    >>> ymir.template(kind).splitlines()
    ['# The random seed.', 'seed: 0']

    Args:
        kind: A dataclass whose fields are made by `parameter`.
    """
    lines: list[str] = []
    for each in fields(kind):
        if each.metadata["shown"]:
            lines += textwrap.wrap(each.metadata["text"], _WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{each.name}: {json.dumps('' if each.default is None else each.default)}")
    return "\n".join(lines) + "\n"


def fill(kind: type[T], config: TaskConfig) -> T:
    """Return a task's parameters: those of config.yaml, and the defaults of the others.

    A text that reads as a number or as true or false counts as one, since the platform's forms give texts. An empty
    text is the default. Keys that nobody knows are named in the log.

    >>> from dataclasses import make_dataclass
    >>> from rbox_formats import ClassNames, ymir
    >>> kind = make_dataclass("Parameters", [("seed", int, ymir.parameter(0, "The random seed."))])
    >>> ymir.fill(kind, ymir.TaskConfig({"seed": "7"}, ClassNames(["ship"])))
    Parameters(seed=7)

    Args:
        kind: A dataclass whose fields are made by `parameter`.
        config: What `read_config` gave.

    Raises:
        TaskError: If a value is of another kind, or out of its range.
    """
    types = get_type_hints(kind)
    given: dict[str, Any] = {}
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    for name, value in config.values.items():
        each = known.get(name)
        if each is None:
            if name not in PLATFORM_KEYS:
                logger.warning("the parameter %s is not known, and changes nothing", quoted(name, marks=False))
        elif value is None or value == "":
            assert each.default is not MISSING
        else:
            given[name] = _value(value, types[name], each.metadata["bounds"], name, config)
    return kind(**given)


def _value(value: Any, kind: Any, bounds: Mapping[str, float], name: str, config: TaskConfig) -> Any:
    """Return a value as what it should be."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kind = next(each for each in options if each is not type(None))
    expected, found = _cast(value, kind)
    if found is not None and isinstance(found, int | float) and not isinstance(found, bool):
        low, high = bounds.get("ge", -math.inf), bounds.get("le", math.inf)
        if not low <= found <= high:
            expected = f"a number from {low:g} on" if high == math.inf else f"a number from {low:g} to {high:g}"
            found = None
    if found is None:
        raise TaskError("config", f"expected {expected} for {name}, got {quoted(value)}", path=config.path)
    return found


def _cast(value: Any, kind: Any) -> tuple[str, Any]:
    """Return what a type expects, in words, and a value as that type; None where it is none."""
    text = str(value).strip()
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return f"one of {', '.join(map(str, choices))}", text if text in choices else None
    if isinstance(value, list | dict):
        return f"a single value of the kind {kind.__name__}", None
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return "true or false", words.get(text.lower())
    if kind is str:
        return "a text", text
    try:
        number = float(text)
    except ValueError:
        return "a number", None
    if kind is int:
        return "a whole number", int(number) if math.isfinite(number) and number.is_integer() else None
    return "a number", number if math.isfinite(number) else None
