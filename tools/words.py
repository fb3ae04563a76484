"""Refuse words that make readers stop, in docstrings, comments, help texts, messages and Markdown.

python tools/words.py            # the whole repository; part of `hatch run lint`
python tools/words.py FILE ...   # some files

Code is not searched: neither names, nor options, nor what is in backticks, nor strings without a space. Where a word is
meant, a mark allows it, on its line or on the line where its string ends: `# words: figure`.
In Markdown the mark is `<!-- words: figure -->`.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import token
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

# Tests, whose names and data are full of such words; licences; pages made from what is searched; and the list itself.
SKIPPED = re.compile(r"(^|/)(tests/|LICENSE)|^docs/reference/|^tools/words\.py$")

# A regular expression of the word, and what to say instead. Upper and lower case are the same, any white space is one
# space. Where a word has a right use, the expression leaves it out: "a figure of matplotlib".
WORDS = {
    r"figures?(?! \d)(?! of matplotlib)": "metric, number; or 'figure of matplotlib'",
    r"likewise": "say it in full: each entry is read by itself",
    r"(?:out )?of which": "two sentences, or 'whose', 'including'",
    r"so many": "the number: 'at most N', 'N images'",
    r"told": "given, named",
    r"leads? to": "maps to, causes, results in",
    r"(?:go|goes|going|went) on": "resume, continue",
    r"(?:go|goes|going) before": "override, take precedence over",
    r"behind": "after",
    r"as it is": "unchanged",
    r"as they are": "unchanged",
    r"as it stands": "unchanged",
    r"left out:": "default:",
    r"where nobody says": "by default",
    r"nobody (?:says|said|needs|calls|opens|has)|whoever": "the caller, the user; or the passive: 'is not given'",
    r"anew": "again",
    r"but for": "except",
    r"in the place of": "instead of",
    r"that there (?:is|are) (?:not|none)": "that does not exist, unknown",
    r"were it|it were|they were not so": "a plain sentence: 'if ... is', 'would be'",
    r"whence|whither|thereof|therein|whereof|wherein|hitherto|henceforth|lest": "from where, to where, of it, so far",
    r"is nothing without": "needs",
    r"in mid-training": "during training",
    r"(?:the |this |our )house": "the project, the packages",
    r"knows? nothing of": "does not use, does not depend on",
    r"the more|the less|the likelier": "two sentences: 'higher values ...'",
    r"for nought|nought": "zero",
}
FOUND = re.compile(
    "|".join(rf"(?P<w{i}>\b(?:{word})(?!\w))".replace(" ", r"\s+") for i, word in enumerate(WORDS)), re.I
)
_MARK = re.compile(r"(?:#|<!--)\s*words:\s*([^>\n]+?)\s*(?:-->)?$", re.MULTILINE)

_CODE = "\0"  # in the place of a character that is no prose: no expression matches it, nor any word across it
_INLINE = re.compile(r"``.+?``|`[^`]*`", re.DOTALL)
_DOCTEST = re.compile(r"^[ \t]*(?:>>>|\.\.\. ?).*$", re.MULTILINE)
_NAMED = re.compile(r"^[ \t]+\*{0,2}[a-z_]\w*(?=:)", re.MULTILINE)  # an argument's or attribute's own entry
_OPTION = re.compile(r"(?<![\w-])--\w[\w-]*")
_REPLACED = re.compile(r"\{[^{}]*\}")
_FENCED = re.compile(r"^([ \t]*)(`{3,}|~{3,}).*?^\1\2.*?$", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"\]\([^)]*\)|<!--.*?-->|https?://\S+", re.DOTALL)
_PROSE_TOKENS = {token.STRING, tokenize.COMMENT, getattr(token, "FSTRING_MIDDLE", -1)}


class Finding(NamedTuple):
    """A word that is refused."""

    line: int
    word: str
    instead: str


def blank(text: str, *patterns: re.Pattern[str]) -> str:
    """Return the text with what matches a pattern replaced by marks of code, line ends kept."""
    for pattern in patterns:
        text = pattern.sub(lambda match: re.sub(r"[^\n]", _CODE, match[0]), text)
    return text


def prose_of_python(source: str) -> tuple[str, dict[int, int]]:
    """Return the comments and strings of a source at their places, and for each line of a string its last line."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    prose = list(re.sub(r"\S", _CODE, source))
    ends: dict[int, int] = {}
    for each in tokenize.generate_tokens(io.StringIO(source).readline):
        if each.type not in _PROSE_TOKENS:
            continue
        (first, start), (last, end) = each.start, each.end
        text = source[offsets[first - 1] + start : offsets[last - 1] + end]
        if each.type == tokenize.COMMENT:
            text = re.sub(r"^#+", lambda match: " " * len(match[0]), text)
        elif " " not in text.strip():
            continue
        else:
            text = blank(text, _INLINE, _DOCTEST, _NAMED, _OPTION, _REPLACED)
            if each.type == token.STRING:
                quotes = re.match(r"\w*('''|\"\"\"|'|\")", text)
                assert quotes is not None
                text = " " * len(quotes[0]) + text[len(quotes[0]) : -len(quotes[1])] + " " * len(quotes[1])
            ends |= dict.fromkeys(range(first, last + 1), last)
        prose[offsets[first - 1] + start : offsets[last - 1] + end] = text
    return blank("".join(prose), _INLINE), ends


def prose_of_markdown(text: str) -> str:
    """Return the text of a page without its code, the targets of its links and its comments."""
    return blank(text, _FENCED, _INLINE, _OPTION, _TARGET)


def findings(path: Path) -> Iterator[Finding]:
    """Yield the refused words of a file, a .py or a .md, from top to bottom."""
    text = path.read_text(encoding="utf-8")
    prose, ends = prose_of_python(text) if path.suffix == ".py" else (prose_of_markdown(text), {})
    lines = text.splitlines()
    for match in FOUND.finditer(prose):
        line = prose.count("\n", 0, match.start()) + 1
        marks = [_MARK.search(lines[number - 1]) for number in {line, ends.get(line, line)}]
        word = " ".join(match[0].split())
        if not any(mark and word.lower() in re.split(r",\s*", mark[1].lower()) for mark in marks):
            yield Finding(line, word, list(WORDS.values())[int(str(match.lastgroup)[1:])])


def tracked() -> list[str]:
    """Return the paths of the repository's Python and Markdown files that have been gone through."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in listed if not SKIPPED.search(path)]


def main() -> int:
    """Print the refused words as path:line; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="Files, .py or .md. Default: all that have been gone through.")
    paths = parser.parse_args().paths or [ROOT / path for path in tracked() if (ROOT / path).exists()]
    found = 0
    for path in map(Path, paths):
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for each in findings(path):
            print(f"{shown}:{each.line}: {each.word!r}: say instead: {each.instead}")
            found += 1
    if found:
        print(f"{found} words to replace; where one is meant, mark its line: tools/words.py says how.", file=sys.stderr)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
