"""Make small changes of the packages' sources; a test should notice each of them: see mutations.py.

A mutation is known by what it changes, not by where that lies: package, qualified name of the function, the statement
without its body, kind, and a number among equal ones. In names and statements leading underscores do not count, and of
what is reached through a module of the workspace only its own name does, so that moves and renamed imports change
nothing. Equal ones are numbered in the order of their functions' texts.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Identity = tuple[str, str, str, str, int]
#: First and last line and column of a piece of source, as `ast` counts them (columns in bytes), and what replaces it.
Edit = tuple[int, int, int, int, str]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
EXTREMES = {"min": "max", "minimum": "maximum", "argmin": "argmax", "amin": "amax", "fmin": "fmax", "nanmin": "nanmax"}
EXTREMES |= {high: low for low, high in EXTREMES.items()}
CHECK = re.compile(r"_*(check|expect|require|refuse|reject|validate|verify|ensure|one_of|not_an_input)(_|$)")
#: Calls whose arguments are for people to read.
MESSAGES = {"debug", "info", "warning", "warn", "error", "exception", "log", "echo", "secho", "print", "cast"}
#: Swapped arguments of these change nothing, or are refused by Python itself.
UNSWAPPED = {*EXTREMES, "isinstance", "issubclass", "hasattr", "getattr", "setattr", "logical_and", "logical_or"}


@dataclass(frozen=True)
class Mutant:
    """A change of one place of the sources."""

    package: str
    scope: str
    statement: str
    kind: str
    ordinal: int
    path: str  # from the workspace's root
    first: int  # line of the statement
    edit: Edit

    @property
    def identity(self) -> Identity:
        return self.package, self.scope, self.statement, self.kind, self.ordinal

    def apply(self, root: Path) -> None:
        path = root / self.path
        path.write_bytes(_edited(path.read_bytes(), self.edit))

    def diff(self, root: Path) -> str:
        old = (root / self.path).read_bytes()
        lines = [text.decode().splitlines() for text in (old, _edited(old, self.edit))]
        return "\n".join(list(difflib.unified_diff(*lines, lineterm="", n=0))[2:])

    def record(self, root: Path) -> dict:
        """Return what result files hold of it."""
        return {**asdict(self), "line": self.edit[0], "diff": self.diff(root)}


def identity_of(record: dict) -> Identity:
    """Return the identity of a mutation in a result file."""
    return tuple(record[name] for name in ("package", "scope", "statement", "kind", "ordinal"))


def _edited(source: bytes, edit: Edit) -> bytes:
    first, start, last, end, text = edit
    lines = source.splitlines(keepends=True)
    lines[first - 1 : last] = [lines[first - 1][:start] + text.encode() + lines[last - 1][end:]]
    return b"".join(lines)


def source_files(root: Path) -> list[Path]:
    """Return the packages' sources, without what makes test data and what only starts a command."""
    found = sorted(root.glob("packages/*/src/**/*.py"))
    return [path for path in found if path.name != "__main__.py" and not any("synthetic" in p for p in path.parts)]


def candidates(root: Path) -> list[Mutant]:
    """Return every possible mutation."""
    files = source_files(root)
    modules = {name.lstrip("_") for path in files for name in (path.stem, path.parent.name)}
    groups: dict[tuple, list[tuple]] = defaultdict(list)
    for path in files:
        tree = ast.parse(path.read_bytes())
        normal = _Normal(tree, modules)
        package = path.relative_to(root).parts[1]
        for scope, function, statement in _statements(tree):
            text = normal.header(statement)
            for kind, edit in _edits(statement):
                key = (package, normal.name(scope), text, kind)
                order = (normal.whole(function), edit)
                groups[key].append((order, str(path.relative_to(root)), statement.lineno, edit))
    return [
        Mutant(*key, ordinal, path, first, edit)
        for key, found in groups.items()
        for ordinal, (_, path, first, edit) in enumerate(sorted(found))
    ]


def shuffled(found: Sequence[Mutant], seed: int) -> list[Mutant]:
    """Return mutations in an order that only the seed and the identities decide."""
    return sorted(found, key=lambda m: hashlib.sha256(json.dumps([seed, *m.identity]).encode()).digest())


def draw(found: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return this number of mutations: from each package by its size, but not too few, and equally of all kinds.

    Of each package one of a kind is taken after the other, the rarest kind first, as long as there are any.
    """
    by_package: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in shuffled(found, seed):
        by_package[mutant.package].append(mutant)
    least = min(10, count // len(by_package))
    free = count - least * len(by_package)
    shares = {name: free * len(of) / len(found) for name, of in sorted(by_package.items())}
    quotas = {name: least + int(share) for name, share in shares.items()}
    for name in sorted(shares, key=lambda name: int(shares[name]) - shares[name])[: count - sum(quotas.values())]:
        quotas[name] += 1
    drawn = []
    for name, of in sorted(by_package.items()):
        sizes, taken = Counter(mutant.kind for mutant in of), Counter[str]()
        turns = {}
        for mutant in of:
            turns[mutant.identity] = taken[mutant.kind]
            taken[mutant.kind] += 1
        drawn += sorted(of, key=lambda m: (turns[m.identity], sizes[m.kind], m.kind))[: quotas[name]]
    return drawn


class _Normal:
    """Return the part of a file's text that moves and renamed imports do not change."""

    def __init__(self, tree: ast.Module, modules: set[str]) -> None:
        self.modules = modules
        self.imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                ours = node.level or (node.module or "").split(".")[0] in modules
                if ours:
                    self.imported |= {alias.asname or alias.name: alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                ours_too = [alias for alias in node.names if alias.name.split(".")[0] in modules]
                self.imported |= {a.asname or a.name.split(".")[0]: a.name.split(".")[-1] for a in ours_too}
        self.wholes: dict[int, str] = {}

    def name(self, name: str) -> str:
        return re.sub(r"\b_+(?=[A-Za-z])", "", name)

    def text(self, node: ast.AST) -> str:
        return self.name(ast.unparse(self._plain(node)))

    def header(self, statement: ast.stmt) -> str:
        """Return a statement without the statements in it."""
        if not hasattr(statement, "body"):
            return self.text(statement)
        return " ".join([type(statement).__name__, *(self.text(part) for part in _expressions(statement))])

    def whole(self, function: Function) -> str:
        if id(function) not in self.wholes:
            self.wholes[id(function)] = "\n".join(map(self.text, function.body))
        return self.wholes[id(function)]

    def _is_module(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return self._is_module(node.value) and node.attr.lstrip("_") in self.modules
        return isinstance(node, ast.Name) and self.imported.get(node.id, "").lstrip("_") in self.modules - {""}

    def _plain(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Attribute) and self._is_module(node.value):
            return ast.Name(node.attr)
        if isinstance(node, ast.Name):
            return ast.Name(self.imported.get(node.id, node.id))
        fields = {}
        for name, value in ast.iter_fields(node):
            many = isinstance(value, list)
            new = [self._plain(each) if isinstance(each, ast.AST) else each for each in (value if many else [value])]
            fields[name] = new if many else new[0]
        return ast.copy_location(type(node)(**fields), node) if "lineno" in node._attributes else type(node)(**fields)


def _statements(tree: ast.Module) -> Iterator[tuple[str, Function, ast.stmt]]:
    """Return the statements inside functions, each with the qualified names of the innermost and outermost one."""

    def inside(node: ast.AST, names: tuple[str, ...], outer: Function | None, inner: bool) -> Iterator:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                for each in child.body:
                    yield from of(each, (*names, child.name), outer or child, True)
            elif isinstance(child, ast.ClassDef):
                for each in child.body:
                    yield from of(each, (*names, child.name), outer, False)
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from of(child, names, outer, inner)

    def of(node: ast.AST, names: tuple[str, ...], outer: Function | None, inner: bool) -> Iterator:
        if isinstance(node, Function | ast.ClassDef):
            yield from inside(ast.Module([node], []), names, outer, inner)
            return
        if inner and isinstance(node, ast.stmt):
            yield ".".join(names), outer, node
        yield from inside(node, names, outer, inner)

    yield from inside(tree, (), None, False)


def _expressions(statement: ast.AST) -> Iterator[ast.expr]:
    """Return the expressions of a statement itself: not of the statements in it, and not its annotation."""
    for name, value in ast.iter_fields(statement):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.expr) and name != "annotation":
                yield each
            elif isinstance(each, ast.withitem):
                yield each.context_expr


def _edits(statement: ast.stmt) -> Iterator[tuple[str, Edit]]:
    """Return what can be changed in a statement; messages, and what only Python reads, are left alone."""
    if isinstance(statement, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.Delete):
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return  # a docstring
    if isinstance(statement, ast.If) and not statement.orelse and isinstance(statement.body[-1], ast.Raise):
        yield "dropped check", _edit(statement.test, f"({ast.unparse(statement.test)}) and False")
    if isinstance(statement, ast.Expr) and CHECK.match(_called(statement.value)):
        yield "dropped check", _edit(statement, "pass")
    if isinstance(statement, ast.AugAssign) and (op := _flipped(statement.op)):
        new = ast.AugAssign(statement.target, op, statement.value)
        yield "sign", _edit(statement, ast.unparse(ast.copy_location(new, statement)))
    for expression in _expressions(statement):
        yield from _edits_of(expression)


def _edits_of(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    def replaced(kind: str, new: ast.AST) -> tuple[str, Edit]:
        text = ast.unparse(new)
        return kind, _edit(node, text if isinstance(new, ast.Constant | ast.Call) else f"({text})")

    match node:
        case ast.JoinedStr():
            return
        case ast.Call() if _called(node) in MESSAGES:
            return
        case ast.Lambda():
            yield from _edits_of(node.body)
            return
        case ast.keyword(arg="strict" | "indent" | "stacklevel"):
            return  # of zip, json and warnings: only bad input or a reader would notice
        case ast.BinOp() if (op := _flipped(node.op)) and not _is_sequence(node.left) and not _is_sequence(node.right):
            yield replaced("sign", ast.BinOp(node.left, op, node.right))
        case ast.UnaryOp(op=ast.USub()):
            yield replaced("sign", node.operand)
        case ast.UnaryOp(op=ast.Not()):
            yield replaced("not", node.operand)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield replaced("and/or", ast.BoolOp(other, node.values))
        case ast.Compare():
            for i, op in enumerate(node.ops):
                ops = [*node.ops[:i], COMPARISONS[type(op)](), *node.ops[i + 1 :]]
                yield replaced("comparison", ast.Compare(node.left, ops, node.comparators))
        case ast.Constant(value=bool() | float()):
            value = (not node.value) if isinstance(node.value, bool) else float(f"{node.value * 1.2:.9g}") or 0.1
            yield replaced("constant", ast.Constant(value))
        case ast.Constant(value=int()):
            yield replaced("off by one", ast.Constant(node.value + 1))
        case ast.Call():
            yield from (replaced(kind, new) for kind, new in _calls(node))
    for child in ast.iter_child_nodes(node):
        yield from _edits_of(child)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.Call]]:
    name = _called(node)
    if name in EXTREMES:
        other = EXTREMES[name]
        function = ast.Name(other) if isinstance(node.func, ast.Name) else ast.Attribute(node.func.value, other)
        yield "min/max", ast.Call(function, node.args, node.keywords)
    first, second = [*node.args, None, None][:2]
    if second is None or name in UNSWAPPED or any(isinstance(each, ast.Starred) for each in (first, second)):
        return
    if _is_sequence(first) == _is_sequence(second) and ast.dump(first) != ast.dump(second):
        yield "swapped arguments", ast.Call(node.func, [second, first, *node.args[2:]], node.keywords)


def _called(node: ast.AST) -> str:
    function = getattr(node, "func", None)
    return getattr(function, "attr", None) or getattr(function, "id", "")


def _flipped(op: ast.operator) -> ast.operator | None:
    return ast.Sub() if isinstance(op, ast.Add) else ast.Add() if isinstance(op, ast.Sub) else None


def _is_sequence(node: ast.AST) -> bool:
    """Return whether a value is text or a list: Python itself refuses to subtract them."""
    if isinstance(node, ast.BinOp):
        return _is_sequence(node.left) or _is_sequence(node.right)
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _edit(node: ast.AST, text: str) -> Edit:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, text
