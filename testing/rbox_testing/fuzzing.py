"""Damaged inputs, and what is made of them: read, refused by an error of ours, or a leak."""

from __future__ import annotations

import json
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rbox_formats import RboxError

from rbox_testing import damage

_VALUES: list[Any] = [
    *(None, True, -1, 0, 0.5, 1e308, 2**70, -(2**63), 10**400),
    *("", "x", "../x", "/etc/passwd", "a" * 300, "\ud800", "\x00", "1", "ship"),
    *([], [None], [[]], {}, {"type": "x"}, float("nan"), float("inf")),
]


@dataclass(frozen=True)
class Target:
    """Something that reads files.

    Attributes:
        make: Writes whole files into an empty folder; gives those that are to be damaged.
        use: Reads what is in the folder; what is odd in it may be an `RboxError`, and nothing else. What it returns is
            right, or `use` says that it is not by an AssertionError.
        share: The number of inputs of a quick target that are tried for each input of this one.
    """

    make: Callable[[Path], list[Path]]
    use: Callable[[Path], object]
    share: int = 1


@dataclass
class Outcome:
    """The results of some inputs.

    Attributes:
        read: How many were read.
        refused: How many were refused by an error of ours.
        leaks: The numbers of those that ended otherwise, and how.
    """

    read: int = 0
    refused: int = 0
    leaks: dict[int, str] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """How many there were."""
        return self.read + self.refused + len(self.leaks)


def fuzz(target: Target, folder: Path, count: int, *, seed: int = 0, first: int = 0, seconds: float = 20) -> Outcome:
    """Damage one file at a time, and read it.

    Args:
        target: What reads.
        folder: An empty folder to work in.
        count: How many inputs.
        seed: With a number from `first` on it makes an input.
        first: The first number.
        seconds: That an input may take.
    """
    whole = {path: path.read_bytes() for path in target.make(folder)}
    before = _contents(folder)
    target.use(folder)  # without damage it reads, or the rest would prove nothing
    outcome = Outcome()
    for number in range(first, first + count):
        chance = random.Random(f"{seed} {number}")
        path = chance.choice(sorted(whole))
        path.write_bytes(damaged(whole[path], path.suffix, chance))
        try:
            with _at_most(seconds):
                target.use(folder)
            outcome.read += 1
        except RboxError as error:
            if len(str(error)) > 2_000:
                outcome.leaks[number] = f"an error of {len(str(error))} characters: {str(error)[:200]}"
            else:
                outcome.refused += 1
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of Rust's is no Exception
            outcome.leaks[number] = "".join(traceback.format_exception(error)[-3:])
        for each, content in before.items():  # some readers resume files, or remove them
            if not each.exists() or each == path or each.read_bytes() != content:
                each.write_bytes(content)
    return outcome


def damaged(content: bytes, suffix: str, chance: random.Random) -> bytes:
    """Return a file with one to three faults: in tokens and bytes, or, half of the time for JSON, in its values."""
    while (found := _damaged(content, suffix, chance)) == content:
        pass
    return found


def _damaged(content: bytes, suffix: str, chance: random.Random) -> bytes:
    if suffix in (".json", ".jsonl", ".geojson") and chance.random() < 0.5:
        lines = content.splitlines(keepends=True) if b"}\n{" in content else [content]  # an object in each
        place = chance.randrange(len(lines))
        lines[place] = json.dumps(_with_another(json.loads(lines[place]), chance)).encode() + b"\n"
        return b"".join(lines)
    return damage.damaged(content, chance)


def _with_another(value: Any, chance: random.Random) -> Any:
    """Return a copy in which one value, at any depth, is another, or a key is missing or new."""
    if isinstance(value, dict | list) and value and chance.random() < 0.8:
        found = value.copy()
        key = chance.choice(sorted(found)) if isinstance(found, dict) else chance.randrange(len(found))
        if chance.random() < 0.15:
            del found[key]
        else:
            found[key] = _with_another(found[key], chance)
        return found
    if isinstance(value, dict) and chance.random() < 0.3:
        return value | {"new": chance.choice(_VALUES)}
    return chance.choice(_VALUES)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """End a block by a TimeoutError, where signals can do that."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
