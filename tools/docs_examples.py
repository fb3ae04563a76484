"""A griffe extension for the site: examples in docstrings, `>>> ...`, are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a prompt at the start of a line to the next empty line, as doctest reads it.
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).+)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Put each example of a docstring between fences, so that Markdown does not read it as a quotation."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value)
