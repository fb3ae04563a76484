"""The config that a checkpoint carries, read without running it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from rbox_baselines.errors import CheckpointError

if TYPE_CHECKING:
    from mmengine.config import Config


def config_from_text(text: str) -> Config:
    """Return a config as mmengine writes it into checkpoints: Python assignments of plain values, and of `dict(...)`.

    mmengine itself runs such a text as a program. This reads it as data.

    Raises:
        CheckpointError: If there is anything else in it.
    """
    from mmengine.config import Config

    try:
        return Config(dict(map(_assigned, ast.parse(text).body)))
    except CheckpointError:
        raise
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise CheckpointError(
            f"expected a config as Python text, got one that cannot be read: {type(error).__name__}: {str(error)[:80]}"
        ) from error


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    """Name and value of an assignment."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        [target] = statement.targets
        if isinstance(target, ast.Name):
            return target.id, _value(statement.value)
    raise _refused(statement)


def _value(node: ast.expr) -> Any:
    """Return what an expression of plain values says."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, arguments = node.func.id, node.args
        if name == "dict" and all(isinstance(each, ast.Dict) for each in arguments):  # one, for names with dots
            parts = [_value(each) for each in arguments]
            return dict(*parts, **{_keyword(each): _value(each.value) for each in node.keywords})
        if name == "float" and len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and not node.keywords:
            return float(arguments[0].value)  # type: ignore[arg-type]  # infinity and NaN have no literal
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(each) for each in node.elts)
    if isinstance(node, ast.Set):
        return {_value(each) for each in node.elts}
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):  # as their repr has them
        return float(node.id)
    try:
        return ast.literal_eval(node)
    except ValueError:
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
