"""tools/words.py refuses planted words with their places, and lets code, names and marked lines pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools" / "words.py"

PYTHON = '''\
"""The figures of a run, out
of which the best are kept."""

figures = {"figures": 1}  # likewise
named = "the `figures` of a report"


def run(help: str = "Takes so many images.") -> None:
    """Return what was told.

    >>> figures = "so many figures"
    """
    raise ValueError(f"{figures} leads to nothing")


long = (
    "a text that is in two parts: it goes "
    "on with the second"
)
'''

MARKDOWN = """\
# Figures

A table of `figures`, and so
many others.

```
likewise --figures
```

[A page](behind.md) about a thing behind another.
"""


def run(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, paths)], capture_output=True, text=True, check=False)


def places(result: subprocess.CompletedProcess[str], path: Path) -> list[tuple[int, str]]:
    lines = [line.removeprefix(f"{path}:").split(": ") for line in result.stdout.splitlines()]
    return [(int(line), word.strip("'")) for line, word, *_ in lines]


def test_words_in_python_are_found_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(PYTHON)
    result = run(path)
    assert places(result, path) == [
        (1, "figures"),
        (1, "out of which"),
        (4, "likewise"),
        (8, "so many"),
        (9, "told"),
        (13, "leads to"),
        (17, "goes on"),
    ]
    assert result.returncode == 1
    assert f"{path}:9: 'told': say instead: given" in result.stdout


def test_words_in_markdown_are_found_outside_of_code_and_links(tmp_path: Path) -> None:
    path = tmp_path / "planted.md"
    path.write_text(MARKDOWN)
    result = run(path)
    assert places(result, path) == [(1, "Figures"), (3, "so many"), (10, "behind")]
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "x = 1  # a figure  # words: figure\n"),
        ("a.py", '"""Text.\n\nA figure.\n"""  # words: figure\n'),
        ("a.md", "A figure. <!-- words: figure -->\n"),
        ("a.py", "# A figure of matplotlib's.\n"),
        ("a.md", "The option --anew runs it again: A figure. <!-- words: figure -->\n"),
    ],
)
def test_a_word_that_is_meant_is_allowed(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert run(path).stdout == ""
    path.write_text(text.replace("figure.", "figure, so many.").replace("a figure  ", "a figure, so many  "))
    path.write_text(path.read_text().replace("A figure of matplotlib's", "So many"))
    result = run(path)  # a mark allows the word that it names, and no other
    assert [word.lower() for _, word in places(result, path)] == ["so many"]


@pytest.mark.slow
def test_what_has_been_gone_through_is_clean() -> None:
    result = run()
    assert (result.returncode, result.stdout) == (0, "")
