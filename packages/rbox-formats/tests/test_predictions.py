from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import jaxtyping
import jsonschema
import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, predictions, rbox_to_quad
from rbox_formats.errors import PredictionsError
from rbox_testing.places import ROOT

NAMES = ClassNames(["plane", "ship"])
HEADER = predictions.Header(NAMES, fingerprint="sha256:1", codec={"name": "florence2", "version": 2})
SCHEMA = json.loads((ROOT / "docs" / "predictions.schema.json").read_text())


def record(image_id: str, n: int = 2, *, scored: bool = False) -> ImageRecord:
    rng = np.random.default_rng(n)
    boxes = rng.uniform(1, 100, (n, 5))
    return ImageRecord(
        image_id,
        boxes,
        labels=np.arange(n) % 2,
        quads=None if scored else rbox_to_quad(boxes),
        scores=rng.random(n) if scored else None,
        width=640,
        height=480,
        metadata={
            "status": "boxes",
            "windows": [{"window": [0, 0, 640], "text": "ship…", "status": "boxes", "rejected": []}],
        },
    )


def write(path: Path, *records: ImageRecord, header: predictions.Header = HEADER) -> None:
    with predictions.Writer(path, header) as writer:
        for item in records:
            writer.write(item)


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "predictions.jsonl"
    written = [record("a"), record("b", 0), record("c", 3, scored=True)]
    write(path, *written)
    file = predictions.read(path)
    assert file.header == HEADER
    assert file.class_names == NAMES
    for ours, theirs in zip(file, written, strict=True):
        for field in dataclasses.fields(ImageRecord):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))


def test_lines_follow_the_published_schema(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", record("a"), record("b", 0), record("c", 3, scored=True))
    header, *images = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(header), {**SCHEMA, "$ref": "#/$defs/header"})
    for line in images:
        jsonschema.validate(json.loads(line), {**SCHEMA, "$ref": "#/$defs/image"})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(images[0]), "boxes": [[1, 2, 3, 4]]}, {**SCHEMA, "$ref": "#/$defs/image"})


def test_a_stopped_run_goes_on_wherever_it_was_stopped(tmp_path: Path) -> None:
    """Cut the file after every byte: what was whole stays, the rest is redone, and the outcome is the same."""
    whole = tmp_path / "whole.jsonl"
    items = [record("a", 1), record("b", 0), record("c", 1)]
    write(whole, *items)
    data = whole.read_bytes()
    for length in range(len(data) + 1):
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(data[:length])
        with predictions.Writer(cut, HEADER) as writer:
            assert len(writer.done) == max(data[:length].count(b"\n") - 1, 0)
            for item in items:
                if item.image_id not in writer.done:
                    writer.write(item)
        assert cut.read_bytes() == data


def test_a_torn_file_is_not_read_as_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path, record("a"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(PredictionsError, match=r"torn last one\n.*to resume it"):
        predictions.read(path)


def test_another_runs_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path, record("a"))
    before = path.read_bytes()
    with pytest.raises(PredictionsError, match="fingerprint 'sha256:1', not 'sha256:2'\nChoose another file"):
        predictions.Writer(path, dataclasses.replace(HEADER, fingerprint="sha256:2"))
    assert path.read_bytes() == before


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"precious": 1}')
    with pytest.raises(PredictionsError, match="expected the header"):
        predictions.Writer(path, HEADER)
    assert path.read_text() == '{"precious": 1}'


def test_an_image_comes_once(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with predictions.Writer(path, HEADER) as writer:
        writer.write(record("a"))
        with pytest.raises(PredictionsError, match="'a' again"):
            writer.write(record("a"))
    with path.open("a") as file:
        file.write(path.read_text().splitlines()[1] + "\n")
    with pytest.raises(PredictionsError, match=r"p\.jsonl:3: expected each image once, got 'a' again"):
        predictions.read(path)


GOOD = {
    "image_id": "x",
    "width": 1,
    "height": 1,
    "boxes": [[1, 2, 3, 4, 5]],
    "labels": [0],
    "quads": None,
    "scores": None,
}
BAD_LINES = {
    "[]": "Expected `object`, got `array`",
    "{": "truncated",
    '{"image_id": "x"}': "missing required field `width`",
    '{"image_id": "x", "windows": ' + "[" * 100_000: r"Expected `object`, got `array` - at `\$\.windows\[0\]`",
    json.dumps({**GOOD, "image_id": "\ud800"}): "surrogate pair",
    json.dumps({**GOOD, "image_id": 5}): r"Expected `str`, got `int` - at `\$\.image_id`",
    json.dumps({**GOOD, "width": "wide"}): r"Expected `int \| float \| null`, got `str` - at `\$\.width`",
    json.dumps({**GOOD, "boxes": [[1, 2, 3, 4]]}): r"Expected `array` of length 5 - at `\$\.boxes\[0\]`",
    json.dumps({**GOOD, "boxes": [[1, 2, 3, 4, "x"]]}): r"Expected `float`, got `str` - at `\$\.boxes\[0\]\[4\]`",
    json.dumps({**GOOD, "boxes": [[1, 2, 3, 4, math.nan]]}): r"malformed.*\n.*NaN and Infinity are no JSON",
    json.dumps({**GOOD, "quads": [[[1, 2]]]}): r"Expected `array` of length 4 - at `\$\.quads\[0\]`",
    json.dumps({**GOOD, "boxes": []}): "as many labels",
    json.dumps({**GOOD, "labels": [2]}): r"a label outside 0\.\.1",
    json.dumps({**GOOD, "labels": [-1]}): r"Expected `int` >= 0 - at `\$\.labels\[0\]`",
    json.dumps({**GOOD, "labels": [10**30]}): r"Expected `int` <= 1000000000 - at `\$\.labels\[0\]`",
    json.dumps({**GOOD, "labels": [True]}): "Expected `int | float`, got `bool`",
    json.dumps({**GOOD, "labels": [0.9]}): r"whole number, got 0\.9 - at `\$\.labels\[0\]`",
    json.dumps({**GOOD, "labels": ["0"]}): "Expected `int | float`, got `str`",
    json.dumps({**GOOD, "boxes": [["1", 2, 3, 4, 0]]}): r"Expected `float`, got `str` - at `\$\.boxes\[0\]\[0\]`",
    json.dumps({**GOOD, "boxes": [[1, 2, -3, 4, 0]]}): r"Expected `float` >= 0\.0 - at `\$\.boxes\[0\]\[2\]`",
    json.dumps({**GOOD, "more": {}}): "unknown field `more`",
    json.dumps(GOOD).encode()[:-1].decode() + ', "\\u0000": ' + "9" * 5_000 + "}": "unknown field",
    json.dumps({**GOOD, "scores": [1, 2]}): "as many scores",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines_are_named(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    path = tmp_path / "p.jsonl"
    write(path, record("a"))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(PredictionsError, match=r"p\.jsonl:3: expected an image's predictions.*" + BAD_LINES[line]):
        predictions.read(path)


def test_whole_numbers_may_have_a_point(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path)
    with path.open("a") as file:
        file.write(json.dumps({**GOOD, "width": 640.0, "labels": [1.0], "boxes": [[1, 2, 3, 4, 0]]}) + "\n")
    (found,) = predictions.read(path)
    assert (found.width, found.labels.tolist(), found.boxes.dtype, found.metadata) == (640, [1], np.float64, {})


@pytest.mark.parametrize("first", ["", "{}\n", "[1]\n", "nonsense\n", '{"schema_version": 1}\n'])
def test_files_that_are_not_predictions(first: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(first)
    with pytest.raises(PredictionsError, match=r"p\.jsonl:1: expected the header"):
        predictions.read(tmp_path / "p.jsonl")
    with pytest.raises(PredictionsError, match="expected a predictions file, found none"):
        predictions.read(tmp_path / "absent.jsonl")


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({**HEADER.to_dict(), "schema_version": 2}) + "\n")
    with pytest.raises(PredictionsError, match="expected schema version 1, got 2"):
        predictions.read(tmp_path / "p.jsonl")


@pytest.mark.parametrize("line", ["[" * 200_000, '{"schema_version": ' + "1" * 5_000 + "}", "[]", '"x"', "{}"])
def test_a_first_line_that_is_no_header_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(PredictionsError, match=r"a\.jsonl:1: expected the header of a predictions file"):
        predictions.read(tmp_path / "a.jsonl")
