"""Values from a JSON Schema: such as it allows, and such as break one clause of it each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
from hypothesis import strategies as st

# What asks for nothing.
_PROSE = {"description", "title", "$schema", "$defs"}
# One of each kind, and what is easily taken for another.
_SAMPLES: tuple[Any, ...] = (None, True, 7, 1.9, "7", "", [], [1], {}, {"a": 1})

Broken = tuple[str, str, Any]
"""The clause that is broken, where in the value, and the value."""


def broken(
    schema: Mapping[str, Any], value: Any, root: Mapping[str, Any], own: Mapping[str, Callable[..., Iterator[Any]]]
) -> Iterator[Broken]:
    """Yield values that break one clause each, from one that breaks none and has everything in the schema.

    Args:
        schema: The schema.
        value: What it allows.
        root: The schema with the `$defs`.
        own: What breaks the clauses that begin with `x-`: a function of the clause's content and the value.

    Raises:
        KeyError: If the schema has a clause that these functions cannot break.
    """
    for name, content in schema.items():
        if name == "$ref":
            yield from broken(root["$defs"][content.removeprefix("#/$defs/")], value, root, own)
        elif not isinstance(value, _OF.get(name, object)):  # of a value of several kinds: a clause for another one
            continue
        elif name in _INTO:
            for key, part in _INTO[name](content, value):
                step = f".{key}" if isinstance(key, str) else f"[{key}]"
                for clause, where, inner in broken(part, value[key], root, own):
                    outer = copy.deepcopy(value)
                    outer[key] = inner
                    yield clause, step + where, outer
        elif name not in _PROSE:
            for wrong in {**_BREAK, **own}[name](content, value):
                yield name, "", wrong


# The kind of value that a clause is for.
_OF: dict[str, type] = {
    **dict.fromkeys(("properties", "required", "additionalProperties"), dict),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"), list),
}

_INTO: dict[str, Callable[[Any, Any], Iterator[tuple[Any, Any]]]] = {
    "properties": lambda content, value: ((key, part) for key, part in content.items()),
    # The first and the last, in case only the first is looked at.
    "items": lambda content, value: ((place, content) for place in sorted({0, len(value) - 1})),
    "prefixItems": lambda content, value: ((place, part) for place, part in enumerate(content)),
}


def _without(keys: list[str], value: dict[str, Any]) -> Iterator[Any]:
    for key in keys:
        yield {name: content for name, content in value.items() if name != key}


_BREAK: dict[str, Callable[[Any, Any], Iterator[Any]]] = {
    "type": lambda kinds, value: (each for each in _SAMPLES if not _is_valid({"type": kinds}, each)),
    "const": lambda content, value: iter([content + 1, str(content), True, None, [content]]),
    "enum": lambda choices, value: iter([choices[0].upper(), choices[0] + " ", "", None, 1, choices]),
    "minimum": lambda least, value: iter([least - 1, -(10**30), -(10**400)]),
    "maximum": lambda most, value: iter([int(most) + 1, most * 10, 10**30, 10**400]),
    "minItems": lambda least, value: (value[:count] for count in range(least)),
    "maxItems": lambda most, value: iter([value + value[:1], value * 3]),
    "uniqueItems": lambda content, value: iter([[*value, value[0]]]),
    "pattern": lambda content, value: (text for text in ("", " ", "_-", "\u3000", "\t\n") if _breaks(content, text)),
    "required": _without,
    "additionalProperties": lambda content, value: ({**value, key: 1} for key in ("more", "", next(iter(value)) + " ")),
}


def _is_valid(schema: Mapping[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def _breaks(pattern: str, text: str) -> bool:
    return not _is_valid({"pattern": pattern}, text)


def with_text(value: Any, text: str) -> Iterator[tuple[str, Any]]:
    """Return the value with another text in place of one that it holds, and where: of each in turn."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        inner = (
            [("", text)] if isinstance(part, str) else with_text(part, text) if isinstance(part, dict | list) else ()
        )
        for where, other in inner:
            outer = copy.deepcopy(value)
            outer[key] = other
            yield (f".{key}" if isinstance(key, str) else f"[{key}]") + where, outer


def allowed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a schema allows; clauses that begin with `x-` are ignored."""
    if "$ref" in schema:
        return allowed(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_KINDS[kind](schema, root) for kind in kinds])


def _numbers(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    return st.floats(schema["minimum"], schema["maximum"]) | _integers(schema, root)


def _integers(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    whole = st.integers(int(schema["minimum"]), int(schema["maximum"]))
    return whole | whole.map(float)


def _strings(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    return st.text(max_size=8).filter(lambda text: not _breaks(schema.get("pattern", ""), text))


def _arrays(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(allowed(part, root) for part in schema["prefixItems"])).map(list)
    least = schema.get("minItems", 0)
    return st.lists(
        allowed(schema["items"], root),
        min_size=least,
        max_size=schema.get("maxItems", least + 3),
        unique=schema.get("uniqueItems", False),
    )


def _objects(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    free = st.dictionaries(st.text(max_size=5), st.recursive(leaf, st.lists, max_leaves=4), max_size=3)
    named = {key: allowed(part, root) for key, part in schema.get("properties", {}).items()}
    required = {key: named.pop(key) for key in schema.get("required", ())}
    known = st.fixed_dictionaries(required, optional=named)
    if not schema.get("additionalProperties", True):
        return known
    return st.builds(lambda more, own: {**more, **own}, free, known)


_KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], st.SearchStrategy[Any]]] = {
    "null": lambda schema, root: st.none(),
    "number": _numbers,
    "integer": _integers,
    "string": _strings,
    "array": _arrays,
    "object": _objects,
}
