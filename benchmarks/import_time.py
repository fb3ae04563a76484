"""What `import rbox_formats` costs above `import numpy`, and how long `rbox-formats --help` takes.

    python benchmarks/import_time.py

Each in a process of its own, alternating, the best of several: seconds of CPU time for imports, of the clock for the
command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

IMPORT = """
import sys, time
start = time.process_time()
import {module}
print(time.process_time() - start, "torch" in sys.modules)
"""


def import_seconds(module: str) -> float:
    code = IMPORT.format(module=module)
    seconds, torch = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    if torch == "True":
        raise SystemExit(f"{module} imports torch")
    return float(seconds)


def help_seconds() -> float:
    code = "from rbox_formats.cli.main import main; main(['--help'])"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    measured = [
        (import_seconds("numpy"), import_seconds("rbox_formats"), import_seconds("rbox_formats.codecs"), help_seconds())
        for _ in range(rounds)
    ]
    numpy, package, codecs, help_ = (min(column) for column in zip(*measured, strict=True))
    print(f"best of {rounds}\n\n| what | seconds |\n|---|---|")
    print(f"| `import numpy` | {numpy:.3f} |")
    print(f"| `import rbox_formats`, above numpy | {package - numpy:.3f} |")
    print(f"| `import rbox_formats.codecs`, above numpy | {codecs - numpy:.3f} |")
    print(f"| `rbox-formats --help`, by the clock | {help_:.3f} |")


if __name__ == "__main__":
    main()
