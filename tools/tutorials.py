"""Run the tutorials, and write each as a page with what it printed, and as a notebook.

python tools/tutorials.py                 # all of them: some minutes
python tools/tutorials.py score           # those whose file name contains "score"
python tools/tutorials.py --check         # exit code 1 and the differences, where a committed page is not that

A tutorial is a Python file of docs/tutorials, in cells: `# %% [markdown]` begins a text, `# %% [bash]` commands, and
`# %%` Python, which is run in one process. Lines of texts and commands begin with "# ". A picture in a text,
`![what it shows](file.png)`, is one that an earlier cell has written. Training on another processor gives other
weights: a cell `# %% [bash, varies]` shows what depends on them, and --check does not compare it.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from _made import same_picture
from PIL import Image

SOURCES = Path(__file__).parents[1] / "docs" / "tutorials"
MARK = re.compile(r"^# %%(?: \[(markdown|bash|python)(, varies)?\])?$")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w./-]+\.png)\)")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: Trained weights, and so scores, differ a little between processors: by how much a number may.
NUMBERS_OFF = 0.02
#: Before an output that is not compared.
VARIES = "<!-- varies -->\n\n"
#: How a block of an output begins; what a reader types has the name of its language above it.
OUTPUT = '```text title="Output"'
TITLES = {"bash": "Shell", "python": "Python"}
#: What a log says of one run alone.
VOLATILE = re.compile(r"\d+(?:\.\d+)? (?:s|ms|minutes|images a second)\b")


class Cell(NamedTuple):
    """A part of a tutorial: its kind, "markdown", "bash" or "python", its text, and whether its output varies."""

    kind: str
    text: str
    varies: bool = False


def cells_of(source: str) -> list[Cell]:
    """Return the cells of a tutorial's file.

    Raises:
        ValueError: If something stands above the first cell, or a line of a text is not a comment.
    """
    found: list[tuple[str, list[str], bool]] = []
    for number, line in enumerate(source.splitlines(), 1):
        if mark := MARK.match(line):
            found.append((mark[1] or "python", [], bool(mark[2])))
        elif not found:
            raise ValueError(f"line {number}: expected a cell's mark, `# %%`, got {line!r}")
        elif found[-1][0] == "python":
            found[-1][1].append(line)
        elif line.startswith("# ") or line in {"#", ""}:
            found[-1][1].append(line[2:])
        else:
            raise ValueError(f"line {number}: expected a comment, as all lines of a text or of commands, got {line!r}")
    return [Cell(kind, "\n".join(lines).strip(), varies) for kind, lines, varies in found]


def run(cells: list[Cell]) -> Iterator[str]:
    """Run the cells in the working folder, and give what each printed."""
    names = {"__name__": "__main__"}
    for cell in cells:
        if cell.kind == "bash":
            # Wide enough that no table is cut, and without colours.
            beside = (
                f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the commands of this environment
            )
            variables = {**os.environ, "PATH": beside, "COLUMNS": "100", "NO_COLOR": "1"}
            done = subprocess.run(
                ["bash", "-euc", cell.text], capture_output=True, text=True, env=variables, stdin=subprocess.DEVNULL
            )
            if done.returncode:
                raise RuntimeError(f"{cell.text}\n{done.stdout}{done.stderr}")
            yield done.stdout
        elif cell.kind == "python":
            with redirect_stdout(io.StringIO()) as printed:
                exec(compile(cell.text, "<tutorial>", "exec"), names)  # noqa: S102  # our own source
            yield printed.getvalue()
        else:
            yield ""


def page_of(name: str, cells: list[Cell], outputs: list[str]) -> str:
    """Return the page: the cells, each with what it printed."""
    parts = [f"<!-- Written by tools/tutorials.py from {name}.py: change that. -->"]
    for cell, output in zip(cells, outputs, strict=True):
        if cell.kind == "markdown":
            parts.append(PICTURE.sub(rf"![\1]({name}/\2)", cell.text))
        else:
            parts.append(f'```{cell.kind} title="{TITLES[cell.kind]}"\n{cell.text}\n```')
            if output.strip():
                shown = "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
                parts.append(f"{VARIES if cell.varies else ''}{OUTPUT}\n{shown}\n```")
        if len(parts) == 2:  # after the title and what the page is for
            parts.append(f"*This page is also a notebook: [{name}.ipynb]({name}.ipynb).*")
    return "\n\n".join(parts) + "\n"


def notebook_of(cells: list[Cell]) -> str:
    """Return the notebook: the cells, without results."""
    found = []
    for number, cell in enumerate(cells):
        text = f"%%bash\n{cell.text}" if cell.kind == "bash" else cell.text
        # Links to other pages have no place beside a notebook that was downloaded: their words stay.
        text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!http)[^)]+\)", r"\1", text) if cell.kind == "markdown" else text
        shared = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if cell.kind == "markdown":
            found.append({"cell_type": "markdown", **shared})
        else:
            found.append({"cell_type": "code", "execution_count": None, "outputs": [], **shared})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": found, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def make(source: Path, out: Path) -> None:
    """Run a tutorial in a folder of its own, and write its page, pictures and notebook into `out`."""
    cells = cells_of(source.read_text(encoding="utf-8"))
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            outputs = [text.replace(folder, "FOLDER") for text in run(cells)]
        finally:
            os.chdir(before)
        pictures = [match[2] for cell in cells if cell.kind == "markdown" for match in PICTURE.finditer(cell.text)]
        for picture in pictures:
            target = out / source.stem / picture
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(Path(folder) / picture) as drawn:  # in 256 colours it has less than half the bytes
                drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    (out / f"{source.stem}.md").write_text(page_of(source.stem, cells, outputs), encoding="utf-8")
    (out / f"{source.stem}.ipynb").write_text(notebook_of(cells), encoding="utf-8")


def without_what_varies(page: str) -> list[str]:
    """Return the lines of a page, without the outputs that vary."""
    return re.sub(rf"{VARIES}{OUTPUT}\n.*?\n```", f"{VARIES}output", page, flags=re.DOTALL).splitlines()


def alike(old: str, new: str) -> bool:
    """Return whether two lines say the same: equal words, and numbers that are nearly equal."""
    old, new = VOLATILE.sub("TIME", old), VOLATILE.sub("TIME", new)
    words = [re.sub(r"[ ─━-]+", " ", NUMBER.sub("N", line)) for line in (old, new)]
    if words[0] != words[1]:
        return False
    pairs = zip(map(float, NUMBER.findall(old)), map(float, NUMBER.findall(new)), strict=True)
    return all(abs(a - b) <= max(NUMBERS_OFF * max(a, b), NUMBERS_OFF) for a, b in pairs)


def differences(old: Path, new: Path, stem: str) -> list[str]:
    """Return what differs between two folders' files of a tutorial."""
    found = []
    for path in sorted(path for path in new.rglob("*") if path.is_file()):
        name = path.relative_to(new)
        if not (old / name).is_file():
            found.append(f"{name} is missing")
        elif path.suffix == ".png":
            if not same_picture(old / name, path):
                found.append(f"{name} shows something else")
        else:
            lines = [without_what_varies((folder / name).read_text(encoding="utf-8")) for folder in (old, new)]
            if len(lines[0]) != len(lines[1]) or not all(map(alike, *lines)):
                found += difflib.unified_diff(*lines, str(name), "made now", lineterm="", n=1)
    kept = {path.name for path in (old / stem).glob("*")}
    found += [f"{stem}/{name} is shown nowhere" for name in sorted(kept - {p.name for p in (new / stem).glob("*")})]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tutorials, and write their pages and notebooks.")
    parser.add_argument("names", nargs="*", help="parts of file names; by default all")
    parser.add_argument("--check", action="store_true", help="write nothing, and say what is stale")
    parser.add_argument("--docs", type=Path, default=SOURCES, help="the folder with the tutorials")
    given = parser.parse_args()
    stale = []
    for source in sorted(given.docs.glob("*.py")):
        if given.names and not any(name in source.stem for name in given.names):
            continue
        if not given.check:
            shutil.rmtree(given.docs / source.stem, ignore_errors=True)
            make(source, given.docs)
            continue
        with TemporaryDirectory() as folder:
            make(source, Path(folder))
            stale += differences(given.docs, Path(folder), source.stem)
    if stale:
        print("\n".join(stale))
        print("stale: run python tools/tutorials.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
