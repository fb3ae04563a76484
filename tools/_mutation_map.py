"""Which tests run which lines of the packages' sources, measured once, and the tests to choose for a line."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from _mutants import Function, Mutant, source_files

#: Compiled: coverage sees none of their lines. Remembered: only the first test to ask is seen.
COMPILED = re.compile(r"(jit|inlined)$")
REMEMBERED = re.compile(r"(^|_)(cache|lru_cache|cached_property)$")

COVERAGE = """\
[run]
parallel = true
data_file = {folder}/data
include = {tree}/packages/*/src/*
context = ${{MUTATIONS_CONTEXT-}}
patch = _exit
disable_warnings = no-data-collected, module-not-measured, couldnt-parse
"""


def digest(root: Path) -> str:
    """Return a hash of everything that a map depends on."""
    found = hashlib.sha256()
    for path in sorted([root / "conftest.py", *source_files(root), *root.glob("packages/*/tests/**/*.py")]):
        found.update(str(path.relative_to(root)).encode() + path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


@dataclass
class Map:
    """What was measured. A context is a test, a fixture that tests share, or, empty, what runs before the tests."""

    digest: str
    marker: str
    seconds: dict[str, float]  # of each test, without the fixtures that it shares
    uses: dict[str, list[str]]  # shared fixtures of each test
    fixtures: dict[str, float]  # seconds of each
    contexts: list[str]
    lines: dict[str, dict[str, list[int]]] = field(repr=False)  # file -> line -> contexts

    @classmethod
    def load(cls, path: Path) -> Map:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            values = json.load(file)
        sets = values.pop("sets")
        values["lines"] = {
            path: {line: sets[number] for line, number in of.items()} for path, of in values["lines"].items()
        }
        return cls(**values)

    def save(self, path: Path) -> None:
        sets: dict[tuple[int, ...], int] = {}
        lines = {
            name: {line: sets.setdefault(tuple(contexts), len(sets)) for line, contexts in of.items()}
            for name, of in self.lines.items()
        }
        with gzip.open(path, "wt", encoding="utf-8") as file:
            json.dump({f.name: getattr(self, f.name) for f in fields(self)} | {"lines": lines, "sets": [*sets]}, file)

    @classmethod
    def measured(cls, tree: Path, marker: str, coverage: Path, notes: Iterable[dict]) -> Map:
        """Make a map from coverage's data and what the plugin noted."""
        from coverage import Coverage

        seconds, uses, fixtures = {}, {}, {}
        for entry in notes:
            if "test" in entry and entry["outcome"] == "passed":
                seconds[entry["test"]], uses[entry["test"]] = max(entry["seconds"], 0.0), entry["uses"]
            elif "fixture" in entry:
                fixtures[entry["fixture"]] = entry["seconds"]
        measuring = Coverage(config_file=str(coverage / "rc"))
        measuring.combine([str(coverage)], keep=True)
        data = measuring.get_data()
        numbers: dict[str, int] = {}
        lines: dict[str, dict[str, list[int]]] = {}
        for path in data.measured_files():
            of = data.contexts_by_lineno(path)
            lines[str(Path(path).relative_to(tree))] = {
                str(line): sorted({numbers.setdefault(name.strip("|"), len(numbers)) for name in names})
                for line, names in sorted(of.items())
            }
        return cls(digest(tree), marker, seconds, uses, fixtures, list(numbers), lines)

    def __post_init__(self) -> None:
        self._users: dict[str, set[str]] = defaultdict(set)
        for test, fixtures in self.uses.items():
            for fixture in fixtures:
                self._users[fixture].add(test)

    def tests_of(self, path: str, lines: Iterable[int]) -> tuple[set[str], bool]:
        """Return tests that run one of the lines, and whether something runs one before the tests."""
        found: set[str] = set()
        of = self.lines.get(path, {})
        numbers = {number for line in lines for number in of.get(str(line), [])}
        for name in (self.contexts[number] for number in numbers):
            found |= {name} if name in self.seconds else self._users.get(name, set())
        return found, any(self.contexts[number] == "" for number in numbers)

    def estimate(self, tests: Iterable[str]) -> float:
        """Return the seconds that tests take in one process."""
        tests = [*tests]
        shared = {fixture for test in tests for fixture in self.uses[test]}
        return sum(self.seconds[test] for test in tests) + sum(self.fixtures.get(name, 0.0) for name in shared)


@dataclass(frozen=True)
class _Place:
    """A function of the sources; without a name, what a file has outside of all functions."""

    path: str
    name: str
    first: int
    last: int
    hidden: bool  # from coverage, in part at least
    is_method: bool
    mentions: frozenset[str]


class Chooser:
    """Chooses the tests that could notice a mutation."""

    def __init__(self, root: Path, measured: Map) -> None:
        self.root, self.map = root, measured
        self.places = [place for path in source_files(root) for place in _places(root, path)]
        self.mentioning: dict[str, list[_Place]] = defaultdict(list)
        for place in self.places:
            for name in place.mentions:
                self.mentioning[name].append(place)
        self.files: dict[str, list[str]] = defaultdict(list)
        for test in measured.seconds:
            self.files[test.split("::")[0]].append(test)

    def candidates(self, mutant: Mutant) -> tuple[set[str], set[str], str]:
        """Return tests that run the line, those that may run it, and how they were found."""
        direct, early = self.map.tests_of(mutant.path, range(mutant.first, mutant.edit[2] + 1))
        around = [p for p in self.places if p.path == mutant.path and p.name and p.first <= mutant.first <= p.last]
        further: set[str] = set()
        for place in around:
            further |= self._through_callers(place)
        how = "coverage" if direct else "callers" if further else "names"
        if early or how == "names":
            further |= self._by_name(mutant)
        return direct, further - direct, how

    def choose(self, mutant: Mutant, most: int, seconds: float) -> tuple[list[str], int, str]:
        """Return some tests, at least one per file, quick ones first; the number of all; and how they were found.

        Beyond one test per file there are at most `most`, within a limit of seconds.
        """
        direct, further, how = self.candidates(mutant)
        rng = random.Random(json.dumps(mutant.identity))
        pools = [sorted(direct), sorted(further)]
        for pool in pools:
            rng.shuffle(pool)
            pool.sort(key=lambda test: self._cost(test) > seconds / 20)
        needed = {test.split("::")[0]: test for test in reversed(pools[0] or pools[1])}
        chosen, spent = set(needed.values()), 0.0
        for test in pools[0] + pools[1]:
            cost = self._cost(test)
            if test not in chosen and len(chosen) < most and spent + cost <= seconds:
                chosen.add(test)
                spent += cost
        return sorted(chosen, key=lambda test: self._order(test, mutant.package)), len(direct | further), how

    def _cost(self, test: str) -> float:
        return self.map.estimate([test])

    def _order(self, test: str, package: str) -> tuple[int, bool, str, int]:
        """Order tests in three rounds, each file by file: a shared fixture must not be set up again for each test."""
        cost, name = self._cost(test), test.split("::")[0]
        return (cost > 0.2) + (cost > 2), name.split("/")[1] != package, name, self.files[name].index(test)

    def _through_callers(self, place: _Place) -> set[str]:
        """Return what covers the functions that mention it by name, and on from those that coverage does not see."""
        found: set[str] = set()
        todo, seen = [place], {place}
        while todo:
            place = todo.pop()
            if place.name.startswith("__"):
                continue
            ways = [f"{place.path} {place.name}", f"import {place.name}", f"call {place.name}"]
            callers = [caller for way in ways for caller in self.mentioning[way]]
            if place.is_method:
                read = self.mentioning[f"read {place.name}"]
                callers += [caller for caller in read if caller.path.split("/")[1] == place.path.split("/")[1]]
            for caller in callers:
                outside = not caller.name and not place.is_method
                if caller in seen or not (place.hidden or caller.hidden or outside):
                    continue
                seen.add(caller)
                found |= self.map.tests_of(caller.path, range(caller.first, caller.last + 1))[0]
                if caller.hidden:
                    todo.append(caller)
        return found

    def _by_name(self, mutant: Mutant) -> set[str]:
        """Return tests of the mirrored folder, and those that name the module or, in a command's file, the command."""
        path = Path(mutant.path)
        parts = path.parts
        stem = path.stem.strip("_")
        mirrored = Path(*parts[:2], "tests", *parts[4:-1])
        files = {name for name in self.files if Path(name).parent == mirrored}
        named = {name for name in files if stem in Path(name).stem}
        word = re.compile(rf"\b_*{re.escape(stem if stem != 'init' else path.parent.name.strip('_'))}\b")
        texts = {name: (self.root / name).read_text(encoding="utf-8") for name in self.files}
        files = named or files | {name for name, text in texts.items() if word.search(text)}
        return {test for name in files for test in self.files[name]}


def _places(root: Path, path: Path) -> Iterator[_Place]:
    tree = ast.parse(path.read_bytes())
    name = str(path.relative_to(root))
    functions: list[tuple[Function, bool]] = []

    def find(node: ast.AST, in_class: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                functions.append((child, in_class))
            find(child, isinstance(child, ast.ClassDef))

    find(tree, False)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    ways = {alias.asname or alias.name: f"import {alias.name}" for node in imports for alias in node.names}
    ways |= {function.name: f"{name} {function.name}" for function, in_class in functions if not in_class}
    inside = {id(node) for function, _ in functions for part in function.body for node in ast.walk(part)}
    outside = [node for node in ast.walk(tree) if id(node) not in inside]
    called = [mark for node in outside for mark in getattr(node, "decorator_list", [])]
    called += [node.func for node in outside if isinstance(node, ast.Call)]
    size = len(path.read_bytes().splitlines())
    yield _Place(name, "", 1, size, False, False, _mentions(called, ways))
    for function, is_method in functions:
        marks = {_last_name(mark) for mark in function.decorator_list}
        hidden = any(COMPILED.search(mark) or REMEMBERED.search(mark) for mark in marks)
        mentions = _mentions((node for part in function.body for node in ast.walk(part)), ways)
        first, last = function.body[0].lineno, function.end_lineno or function.lineno
        yield _Place(name, function.name, first, last, hidden, is_method, mentions)


def _last_name(node: ast.AST) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _mentions(nodes: Iterable[ast.AST], ways: Mapping[str, str]) -> frozenset[str]:
    """Return the named functions, with how: of the same file, imported, called as an attribute, or only read."""
    nodes = [*nodes]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = {ways.get(node.id, "") for node in nodes if isinstance(node, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Attribute):
            is_of_module = isinstance(node.value, ast.Name) and node.value.id in ways
            found.add(f"{'call' if id(node) in called or is_of_module else 'read'} {node.attr}")
    return frozenset(found)
