"""The config that a checkpoint carries, read without running it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from rbox_baselines.errors import CheckpointError

if TYPE_CHECKING:
    from mmengine.config import Config


def config_from_text(text: str) -> Config:
    """A config as mmengine writes it into checkpoints: Python assignments of plain values, and of `dict(...)`.

    mmengine itself runs such a text as a program. This reads it as data.

    Raises:
        CheckpointError: If there is anything else in it.
    """
    from mmengine.config import Config

    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(f"expected a config as Python text, got one that does not parse: {error}") from error
    values: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            [target] = statement.targets
            if isinstance(target, ast.Name):
                values[target.id] = _value(statement.value)
                continue
        raise _refused(statement)
    return Config(values)


def _value(node: ast.expr) -> Any:
    """What an expression of plain values says."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {_keyword(each): _value(each.value) for each in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(each) for each in node.elts)
    if isinstance(node, ast.Set):
        return {_value(each) for each in node.elts}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float" and not node.keywords:
        # Infinity and NaN have no literal.
        [text] = node.args
        if isinstance(text, ast.Constant):
            return float(text.value)  # type: ignore[arg-type]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _refused(node) from None


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise _refused(keyword.value)
    return keyword.arg


def _refused(node: ast.AST) -> CheckpointError:
    return CheckpointError(
        f"expected plain values in the checkpoint's config, got {ast.unparse(node)[:80]!r}; it was not run",
        remedy="Give the config as a file instead: --config.",
    )
