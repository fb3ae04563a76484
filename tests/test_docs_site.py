"""The documentation site: what its pages show is what the code does, and each command that they name exists."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "tools"))
import docs_offline  # noqa: E402
import tutorials  # noqa: E402

TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
COMMANDS = {
    "rbox-formats": "rbox_formats",
    "rbox-metrics": "rbox_metrics",
    "lmm-detector": "lmm_detector",
    "rbox-baselines": "rbox_baselines",
    "rbox-serve": "rbox_serve",
}
WRITTEN = [*DOCS.glob("*.md"), *DOCS.glob("how-to/*.md"), *DOCS.glob("explanations/*.md"), *DOCS.glob("tutorials/*.md")]
COMMAND = re.compile(rf"(?:^|`|\| |; |&& )((?:{'|'.join(COMMANDS)}) [a-z][^`|;&>\n]*)", re.MULTILINE)


def commands_of(page: str) -> Iterator[str]:
    """Give each command line of a page, in blocks and in the text."""
    yield from (found[1] for found in COMMAND.finditer(page.replace("\\\n", " ")))


def unknown_options(line: str) -> list[str]:
    """Return the options of a command line that its command does not have."""
    program, name, *rest = shlex.split(line)
    group = import_module(f"{COMMANDS[program]}.cli.main").main
    command = group.get_command(click.Context(group), name)
    if command is None:
        return [name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in rest if word.startswith("--") and word.split("=")[0] not in {*known, "--help"}]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: str(path.relative_to(DOCS)))
def test_commands_and_options_exist(page: Path) -> None:
    lines = list(commands_of(page.read_text(encoding="utf-8")))
    wrong = {line: unknown for line in lines if (unknown := unknown_options(line))}
    assert wrong == {}


def test_commands_are_found_and_wrong_ones_are_seen() -> None:
    page = (
        "| a | `rbox-metrics evaluate --data D --truth T` |\n```bash\nrbox-formats split --data D \\\n  --odd 1\n```\n"
    )
    found = list(commands_of(page))
    assert [unknown_options(line) for line in found] == [["--truth"], ["--odd"]]
    assert unknown_options("rbox-metrics evaluates --data D") == ["evaluates"]
    assert sum(len(list(commands_of(path.read_text(encoding="utf-8")))) for path in WRITTEN) > 60


@pytest.mark.parametrize("source", TUTORIALS, ids=lambda path: path.stem)
def test_page_and_notebook_are_of_the_source(source: Path) -> None:
    """Without running it: every cell is on the page, in order, and the notebook is what the source gives."""
    cells = tutorials.cells_of(source.read_text(encoding="utf-8"))
    notebook = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert notebook == tutorials.notebook_of(cells)
    codes = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    page, place = source.with_suffix(".md").read_text(encoding="utf-8"), 0
    for cell in cells:
        text = tutorials.PICTURE.sub(rf"![\1]({source.stem}/\2)", cell.text) if cell.kind == "markdown" else cell.text
        place = page.index(text, place) + len(text)
        assert cell.kind == "markdown" or codes.pop(0).removeprefix("%%bash\n") == cell.text
    assert codes == []
    assert "## Next" in page
    for _, picture in tutorials.PICTURE.findall(page):
        assert (source.parent / picture).is_file()


# Those that train take minutes: `hatch run test-slow` runs them, and `.ci/run` the others.
LONG = ("fine-tune", "from-labels", "two-detectors")


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [pytest.param(path, marks=[pytest.mark.variant] if path.stem in LONG else [], id=path.stem) for path in TUTORIALS],
)
def test_a_tutorial_runs_and_gives_what_its_page_shows(source: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "tutorials.py"), "--check", source.stem]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_reference_and_pictures_are_those_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "tools" / "docs_pages.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_stale_output_is_seen(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        shutil.copyfile(DOCS / "tutorials" / "map-nc.md", tmp_path / f"{folder}.md")
    assert tutorials.alike("mAP_nc 0.545  in 3.1 s", "mAP_nc 0.550  in 9.7 s")
    assert not tutorials.alike("mAP_nc 0.545", "mAP_nc 0.645")
    assert not tutorials.alike("mAP_nc 0.545", "F1 0.545")
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / f"{folder}.md").rename(tmp_path / folder / "map-nc.md")
    page = tmp_path / "new" / "map-nc.md"
    assert tutorials.differences(tmp_path / "old", tmp_path / "new", "map-nc") == []
    text = page.read_text(encoding="utf-8")
    assert "mAP_nc 0.545" in text
    page.write_text(text.replace("mAP_nc 0.545", "mAP_nc 0.745"), encoding="utf-8")
    found = tutorials.differences(tmp_path / "old", tmp_path / "new", "map-nc")
    assert any(line.startswith("+") and "0.745" in line for line in found)


def test_text_above_the_first_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1"):
        tutorials.cells_of("print(1)\n# %%\n")
    with pytest.raises(ValueError, match="line 2"):
        tutorials.cells_of("# %% [markdown]\nTitle\n")


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://unpkg.com/x"></script>',
        "<img src=//example.org/a.png>",
        '<link href="a.css" rel="preconnect"><link rel="stylesheet" href="https://fonts.example.org">',
    ],
)
def test_a_page_that_fetches_something_is_seen(page: str) -> None:
    assert docs_offline.fetched(page)
    assert not docs_offline.fetched('<a href="https://example.org">x</a><script src="assets/a.js"></script>')
