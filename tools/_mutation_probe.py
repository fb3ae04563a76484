"""A plugin of pytest's for mutations.py: what each test took, covers and shares with others, noted line by line.

A fixture that several tests share is a context of its own for coverage, since only the first of them sets it up.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

LOG = os.environ["MUTATIONS_LOG"]
_serials: dict[int, str] = {}  # a shared fixture's definition -> the name of what it was set up to last
_taken: list[float] = []  # what shared fixtures took inside of those that are being set up, the innermost last
_tests: dict[str, dict] = {}


def note(**entry: Any) -> None:
    with Path(LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def switch(context: str) -> str:
    """Tell coverage whose the lines are from here on, in this process and in those that it starts."""
    before = os.environ.get("MUTATIONS_CONTEXT", "")
    os.environ["MUTATIONS_CONTEXT"] = context
    if "COVERAGE_PROCESS_START" in os.environ:
        from coverage import Coverage

        if (current := Coverage.current()) is not None:
            current.switch_context(context)
    return before


def pytest_configure(config: pytest.Config) -> None:
    for folder in config.rootpath.glob("packages/*/src/*/__init__.py"):
        found = find_spec(folder.parent.name)
        if found is None or found.origin is None or Path(found.origin) != folder:
            raise pytest.UsageError(f"expected {folder}, which is to be tested, got {found and found.origin}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Return the order that was asked for, whatever the suite's own is."""
    yield
    if order := os.environ.get("MUTATIONS_ORDER"):
        ranks = {name: rank for rank, name in enumerate(json.loads(Path(order).read_text(encoding="utf-8")))}
        items.sort(key=lambda item: ranks.get(item.nodeid, len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    note(start=item.nodeid, at=time.time())
    _tests[item.nodeid] = {"seconds": 0.0, "outcome": "passed", "uses": []}
    before = switch(item.nodeid)
    found = yield
    switch(before)
    note(test=item.nodeid, **_tests.pop(item.nodeid))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[Any]:
    definitions = getattr(getattr(item, "_request", None), "_fixture_defs", {}).values()
    _tests[item.nodeid]["uses"] = [_serials[id(each)] for each in definitions if id(each) in _serials]
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[Any]:
    if fixturedef.scope == "function":
        return (yield)
    name = _serials[id(fixturedef)] = f"{os.getpid()}:{len(_serials)}:{time.monotonic_ns()}:{fixturedef.argname}"
    before, begin = switch(name), time.perf_counter()
    _taken.append(0.0)
    try:
        return (yield)
    finally:
        seconds, inner = time.perf_counter() - begin, _taken.pop()
        if _taken:
            _taken[-1] += seconds
        elif request.node is not None and _tests:
            next(iter(_tests.values()))["seconds"] -= seconds  # pytest counts it as the test's
        switch(before)
        note(fixture=name, seconds=seconds - inner)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    test = _tests[report.nodeid]
    test["seconds"] += report.duration if report.when != "teardown" else 0.0
    if report.failed or (report.skipped and not hasattr(report, "wasxfail") and test["outcome"] == "passed"):
        test["outcome"] = report.outcome


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        note(broken=report.nodeid)


def pytest_sessionfinish() -> None:
    """Return whether the changed file was imported, and from where."""
    changed = os.environ.get("MUTATIONS_FILE")
    note(imported=any(vars(module).get("__file__") == changed for module in [*sys.modules.values()]))
