"""Damaged prediction files: `jsonschema` says of each whether it is one; reading, going on and joining say the same.

Nothing but `PredictionsError` is raised, and what is refused stays as it was.
"""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, predictions
from rbox_formats.errors import PredictionsError
from rbox_formats.sharding import Parts
from rbox_testing.damage import damaged
from rbox_testing.places import ROOT
from rbox_testing.telling import join_all

SCHEMA = json.loads((ROOT / "docs" / "predictions.schema.json").read_text())
HEADER = predictions.Header(
    ClassNames(["plane", "small-vehicle", "é"]),
    "sha256:1",
    {"name": "florence2", "version": 2},
    {"beams": 1, "top": 0.9},
)
_CLASH = object()  # of a key that comes twice: which one counts is not said


def make(path: Path) -> None:
    rng = np.random.default_rng(0)
    with predictions.Writer(path, HEADER) as writer:
        for number in range(3):
            boxes = rng.uniform(0, 90, (number, 5)).round(2)
            windows = [{"window": [0, 0, 96], "text": "a<b", "status": "boxes", "rejected": [[0, 2, "no box"]]}]
            metadata: dict[str, Any] = {"status": "boxes", "windows": windows} if number else {}
            quads = rng.uniform(0, 90, (number, 4, 2)).round(1) if number == 1 else None
            scores, labels = rng.random(number), np.arange(number)
            writer.write(ImageRecord(f"P{number}", boxes, labels, quads, None, scores, None, 96, 96, metadata))


def json_value(line: bytes) -> Any:
    """A line by Python's `json`, held to what JSON is.

    Raises:
        ValueError: If it is none; RecursionError: if it is too deep.
    """

    def refuse(name: str) -> None:
        raise ValueError(name)

    def once(pairs: list[tuple[str, Any]]) -> Any:
        return dict(pairs) if len(dict(pairs)) == len(pairs) else {**dict(pairs), "clash": _CLASH}

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
        return value

    text = line.decode()
    if text.strip(" \t\r\n") != text.strip(" \t\r\n\ufeff"):
        raise ValueError("byte order mark")
    value = json.loads(text, parse_constant=refuse, parse_float=number, object_pairs_hook=once)
    json.dumps(value, ensure_ascii=False, default=lambda each: None).encode()  # halves of surrogate pairs
    return value


def says_the_witness(content: bytes) -> bool | None:
    """Whether a file is one; None where that is not said anywhere."""
    *lines, torn = content.split(b"\n")
    try:
        values = [json_value(line) for line in lines]
    except (ValueError, RecursionError):
        return False
    if any(_clashes(value) for value in values):
        return None
    if torn or not values:
        return False
    for part, value in zip(["header"] + ["image"] * (len(values) - 1), values, strict=True):
        if not jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{part}"}).is_valid(value):
            return False
    header, *images = values
    names = header["class_names"]
    plain = {"".join(re.split(r"[\s_-]", name)).casefold() for name in names}
    ids = {image["image_id"] for image in images}
    return (
        len(plain) == len(names)
        and len(ids) == len(images)
        and all(label < len(names) for image in images for label in image["labels"])
        and all(
            len(image[name]) == len(image["boxes"])
            for image in images
            for name in ("labels", "quads", "scores")
            if image[name] is not None
        )
    )


def _clashes(value: Any) -> bool:
    if isinstance(value, dict):
        return _CLASH in value.values() or any(map(_clashes, value.values()))
    return isinstance(value, list) and any(map(_clashes, value))


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except PredictionsError as error:
        message = str(error)
    else:
        return False
    assert "expected" in message
    assert len(message) < 1_500
    return True


def fuzz(root: Path, count: int, seed: int) -> tuple[int, int]:
    """Damages one file again and again; returns how often reading refused and took it."""
    path, joined = root / "p.jsonl", root / "joined.jsonl"
    make(path)
    whole = path.read_bytes()
    assert says_the_witness(whole)
    assert not refused(lambda: predictions.read(path))
    chance, outcomes = random.Random(seed), [0, 0]
    for _ in range(count):
        content = damaged(whole, chance)
        path.write_bytes(content)
        not_read = refused(lambda: predictions.read(path))
        outcomes[not not_read] += 1
        assert says_the_witness(content) in (None, not not_read), content
        # A file that is torn, or has not got to the end of its header, is gone on with; all others as they are read.
        part = root / "joined.jsonl.parts" / "part.jsonl"
        part.parent.mkdir()
        part.write_bytes(content)
        not_joined = refused(lambda: join_all(Parts(root / "joined.jsonl", HEADER)))
        assert part.exists() == not_joined
        joined.unlink(missing_ok=True)
        shutil.rmtree(part.parent, ignore_errors=True)
        not_gone_on = refused(lambda: predictions.Writer(path, HEADER).__exit__(None, None, None))
        assert not_gone_on == not_joined
        assert not not_gone_on or path.read_bytes() == content
        assert not_gone_on or not refused(lambda: predictions.read(path))
        if not not_read and predictions.read(path).header == HEADER:
            assert not not_joined
    return outcomes[0], outcomes[1]


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    no, yes = fuzz(tmp_path, 150, seed=1)
    assert no > 50
    assert yes > 2


@pytest.mark.slow
def test_very_many_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    no, yes = fuzz(tmp_path, 2_500, seed=2)
    assert no > 1_000
    assert yes > 20
