"""Damaged files of every kind: a sample of what `hatch run fuzz` runs, and that a leak would be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from rbox_formats import RboxError
from rbox_testing.fuzz_targets import targets
from rbox_testing.fuzzing import Outcome, Target, fuzz

TARGETS = targets()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    count = max(2, 6 // target.share)
    found = fuzz(target, tmp_path, count, seed=1)
    assert not found.leaks, next(iter(found.leaks.values()))
    assert found.tried == count


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    found = fuzz(target, tmp_path, 40 // target.share, seed=2)
    assert not found.leaks, next(iter(found.leaks.values()))


@pytest.mark.parametrize("problem", ["error", "panic", "endless", "long", "wrong"])
def test_a_leak_is_seen(problem: str, tmp_path: Path) -> None:
    def make(folder: Path) -> list[Path]:
        (folder / "a.txt").write_text("whole")
        return [folder / "a.txt"]

    class Panic(BaseException):  # as those of libraries in Rust
        pass

    def use(folder: Path) -> None:
        if (folder / "a.txt").read_bytes() == b"whole":
            return
        if problem == "error":
            raise OSError("File name too long")
        if problem == "panic":
            raise Panic
        if problem == "long":
            raise RboxError("expected less, got " + "a" * 5_000)
        while problem == "endless":
            pass
        assert problem != "wrong"

    found = fuzz(Target(make, use), tmp_path, 2, seconds=0.3)
    assert len(found.leaks) == 2
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_an_input_is_its_number(tmp_path: Path) -> None:
    """So that one leak of many can be seen again alone."""
    seen: list[bytes] = []

    def make(folder: Path) -> list[Path]:
        folder.mkdir()
        (folder / "a.json").write_text('{"a": [1, {"b": "c"}]}')
        return [folder / "a.json"]

    target = Target(make, lambda folder: seen.append((folder / "a.json").read_bytes()))
    assert fuzz(target, tmp_path / "all", 20).tried == 20
    fuzz(target, tmp_path / "one", 1, first=13)
    assert seen[-1] == seen[1 + 13]
    assert len(set(seen[1:21])) > 15
    assert isinstance(fuzz(target, tmp_path / "none", 0), Outcome)
