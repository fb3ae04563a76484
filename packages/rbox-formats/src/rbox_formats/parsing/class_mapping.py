"""New names for classes, from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from rbox_formats import files
from rbox_formats.errors import DatasetError, RboxError, quoted, said

__all__ = ["read"]


def read(path: str | Path, error: type[RboxError] = DatasetError) -> dict[str, str | None]:
    """Read new names for classes from a JSON file: `{"small vehicle": "vehicle", "helipad": null}`.

    Args:
        path: The file.
        error: What to raise.

    Raises:
        RboxError: Of the class `error`, if it cannot be read, or holds something else.
    """
    path = files.as_path(path, error)
    remedy = 'It reads {"class": "new name", "class to drop": null}.'
    try:
        values = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=list)
    except OSError as problem:
        raise error(f"expected a file that can be read, got: {problem.strerror}", path=path) from problem
    except (ValueError, RecursionError) as problem:
        line = problem.lineno if isinstance(problem, json.JSONDecodeError) else None
        raise error(f"expected JSON, got {said(problem)}", path=path, line=line, remedy=remedy) from problem
    # An object comes as a list of pairs, an array as a list of values: so that a key that comes twice is seen.
    if not isinstance(values, list) or not all(isinstance(pair, tuple) for pair in values):
        raise error("expected a JSON object of class names", path=path, remedy=remedy)
    wrong = [key for key, value in values if not isinstance(value, str | None)]
    if wrong:
        raise error(f"expected a class name or null for {quoted(wrong[0])}", path=path, remedy=remedy)
    if len(dict(values)) < len(values):
        raise error("expected each class once", path=path, remedy=remedy)
    return dict(values)
