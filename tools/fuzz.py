"""Damage files of every kind, and have them read: what is neither read nor refused by an error of ours is a leak.

    hatch run fuzz --count 2000
    hatch run fuzz --count 2000 --seed 7 reader results    # the targets whose names begin so
    hatch run fuzz --only 319 "results zip"                # one input again, with its traceback

An input is made by the seed and its number alone. The exit code is 1 where there is a leak.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

from rbox_testing.fuzz_targets import targets
from rbox_testing.fuzzing import fuzz
from rich.console import Console
from rich.table import Table

_SHOWN = 3  # leaks of a target that are printed


def main() -> int:
    """Run the targets, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the beginnings of targets' names; none: all")
    parser.add_argument("--count", type=int, default=300, help="inputs of a quick target; slow ones get a share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of a single input")
    options = parser.parse_args()
    console, table = Console(stderr=True), Table("target", "inputs", "read", "refused", "leaks", "s")
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    leaks = 0
    for name, target in targets().items():
        if options.names and not any(name.startswith(beginning) for beginning in options.names):
            continue
        count, first = max(1, options.count // target.share), 0
        if options.only is not None:
            count, first = 1, options.only
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = fuzz(target, Path(folder), count, seed=options.seed, first=first)
        figures = (found.tried, found.read, found.refused, len(found.leaks))
        table.add_row(name, *map(str, figures), f"{time.monotonic() - begin:.1f}")
        console.print(f"{name}: {found.tried} inputs, {len(found.leaks)} leaks", markup=False)
        for number, leak in list(found.leaks.items())[:_SHOWN]:
            console.print(f"  input {number}: {leak}", markup=False, highlight=False)
        leaks += len(found.leaks)
    Console().print(table)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
