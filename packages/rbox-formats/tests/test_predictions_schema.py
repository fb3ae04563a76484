"""docs/predictions.schema.json is what reading, going on and joining hold: each clause broken, and files made of it.

`jsonschema` is the witness that what breaks a clause breaks that one alone, and that files made of the schema are its.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ClassNames, ImageRecord, predictions
from rbox_formats.errors import PredictionsError
from rbox_formats.masks import _rle
from rbox_formats.sharding import Parts
from rbox_testing.json_schemas import Broken, allowed, broken, with_text
from rbox_testing.places import ROOT
from rbox_testing.telling import join_all

SCHEMA = json.loads((ROOT / "docs" / "predictions.schema.json").read_text())
HEADER = {
    "schema_version": 1,
    "class_names": ["plane", "small-vehicle"],
    "fingerprint": "sha256:1",
    "codec": {"name": "florence2"},
    "generation": {"beams": 3},
    "dataset": {},
}
RUN = predictions.Header(
    ClassNames(["plane", "small-vehicle"]), "sha256:1", codec={"name": "florence2"}, generation={"beams": 3}
)
IMAGE = {
    "image_id": "P0001",
    "width": 640,
    "height": 480,
    "boxes": [[10, 20, 5, 3, 0.5], [30.5, 20, 5, 0, -1]],
    "quads": [[[0, 0], [4, 0], [4, 2], [0, 2]]] * 2,
    "labels": [0, 1],
    "scores": [0.5, 0.25],
    "status": "boxes",
    "masks": [[[0, 0, 4, 0, 4, 2, 0, 2.5]], {"size": [480, 640], "counts": "PP\\9"}],
    "windows": [{"window": [0, 0, 640], "text": "a", "class": "plane", "status": "empty", "rejected": [[0, 1, "why"]]}],
}


def shorter(columns: list[str], value: dict[str, Any]) -> Iterator[Any]:
    for name in columns:
        yield {**value, name: value[name][:-1]}
        yield {**value, name: value[name] + value[name][:1]}
    yield {**value, "boxes": []}


def alike(content: list[str], names: list[str]) -> Iterator[Any]:
    for name in (names[1].upper(), "small_vehicle", "small vehicle", " small-\tvehicle ", "-plane"):
        yield [*names, name]


def other_lengths(content: bool, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for counts in ("", "PP\\91", "PP\\", "PP\\9 ", value["counts"] + "\u00e9"):
            yield {**value, "counts": counts}
        yield {**value, "size": value["size"][::-1]}


OWN: dict[str, Callable[..., Iterator[Any]]] = {
    "x-sameLength": shorter,
    "x-below": lambda content, value: iter([2, 2.0, 3, 999_999_999]),
    "x-distinct": alike,
    "x-even": lambda content, value: iter([value[:-1], [*value, 1]]),
    "x-runLengths": other_lengths,
    "x-unique": lambda content, value: iter(()),  # of a file: below
}


def cases() -> Iterator[tuple[int, Broken]]:
    """The line that is broken, and how."""
    for number, (part, value) in enumerate({"header": HEADER, "image": IMAGE}.items(), start=1):
        schema = SCHEMA["$defs"][part]
        for case in broken(schema, value, SCHEMA, OWN):
            yield number, case
        for where, wrong in with_text(value, "\ud800"):
            yield number, ("x-text", where, wrong)
    yield 1, ("x-finite", "", json.dumps(HEADER).replace("3", "1e999").encode())
    yield 2, ("x-finite", "", json.dumps(IMAGE).replace("30.5", "1e999").encode())
    for value in (math.nan, math.inf, -math.inf):
        yield 2, ("x-finite", "", {**IMAGE, "scores": [value, 0]})
        yield 2, ("x-finite", "", {**IMAGE, "width": value})
        yield 1, ("x-finite", "", {**HEADER, "generation": {"beams": value}})


CASES = list(cases())


def test_every_kind_of_clause_is_broken() -> None:
    def clauses(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, part in value.items():
                yield key
                if key != "properties":
                    yield from clauses(part)
                else:
                    yield from clauses(list(part.values()))
        elif isinstance(value, list):
            for part in value:
                yield from clauses(part)

    known = {clause for _, (clause, _, _) in CASES} | {"x-unique"}
    structure = {"$ref", "properties", "items", "prefixItems", "description"}
    assert set(clauses([SCHEMA["$defs"]["header"], SCHEMA["$defs"]["image"]])) - structure <= known
    assert set(clauses({key: value for key, value in SCHEMA.items() if key.startswith("x-")})) <= known
    assert len(CASES) > 250


def line(value: Any) -> bytes:
    return (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n"


def write(path: Path, number: int, value: Any) -> None:
    """A file whose line of that number is that, and all others are well."""
    lines = [HEADER, *({**IMAGE, "image_id": name} for name in "abc")]
    lines[number - 1] = value
    path.write_bytes(b"".join(map(line, lines)))


CALLS: dict[str, Callable[[Path], object]] = {
    "read": predictions.read,
    "go on": lambda path: predictions.Writer(path, RUN),
    "join": lambda path: join_all(Parts(path, RUN)),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_breaks_one_clause_is_refused_by_its_name(call: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for number, (clause, where, value) in CASES:
        write(path, number, value)
        before = path.read_bytes()
        with pytest.raises(PredictionsError) as caught:
            CALLS[call](path)
        message = str(caught.value)
        case = f"{clause} {where} {str(value)[:300]}: {message}"
        assert message.startswith(f"{path}:{number}: expected "), case
        assert len(message) < len(str(path)) + 500, case
        if not clause.startswith(("x-text", "x-finite")):  # which are no JSON: there are no fields
            # The field, or what is missing in it or too much.
            outer = where.split(".")[1].split("[")[0] if "." in where else ""
            assert any(
                field in message for field in (f"$.{outer}", "field `", "schema version", "Expected `object`")
            ), case
        assert path.read_bytes() == before, case
        assert [each.name for each in tmp_path.iterdir()] == ["p.jsonl"], case


@pytest.mark.slow
@pytest.mark.parametrize("part, value", [("header", HEADER), ("image", IMAGE)])
def test_the_witness_agrees_on_what_is_broken(part: str, value: Any) -> None:
    """jsonschema finds that clause alone broken, and nothing in what breaks only what JSON Schema cannot say."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{part}"})
    whole = jsonschema.Draft202012Validator(SCHEMA)
    assert whole.is_valid(value)
    for number, (clause, where, wrong) in CASES:
        if (number == 1) != (part == "header") or clause == "x-finite":
            continue
        found = {error.validator for error in validator.iter_errors(wrong)}
        if clause == "x-text":  # of an enum only its own texts will do
            assert found <= {"enum"}
        else:
            assert found == (set() if clause.startswith("x-") else {clause}), (clause, where, wrong)
            assert whole.is_valid(wrong) == clause.startswith("x-")


@pytest.mark.parametrize("call", CALLS)
def test_an_image_that_comes_twice_is_refused(call: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path, 3, {**IMAGE, "image_id": "c"})
    with pytest.raises(PredictionsError, match=r"p\.jsonl:4: expected each image once, got 'c' again"):
        CALLS[call](path)


def consistent(mask: Any, image: dict[str, Any]) -> Any:
    """A mask of the schema's form whose outlines are pairs, or whose run lengths are those of an image's size."""
    if isinstance(mask, list):
        return [outline[: len(outline) // 2 * 2] for outline in mask]
    height, width = (int(image[name] or side) for name, side in zip(("height", "width"), mask["size"], strict=True))
    pixels = height * width
    if pixels > 2**53:
        return [[0, 0, 4, 0, 4, 2]]
    counts = [pixels - 1, 1] if pixels else []
    return {"size": [height, width], "counts": _rle.encode_counts(np.array(counts, dtype=np.int64))}


@st.composite
def files(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    """A header and images as the schema allows them, its own clauses kept too."""
    header = draw(allowed(SCHEMA["$defs"]["header"], SCHEMA))
    names = {re.sub(r"[\s_-]", "", name).casefold(): name for name in header["class_names"]}
    header["class_names"] = list(names.values())
    images = draw(
        st.lists(allowed(SCHEMA["$defs"]["image"], SCHEMA), max_size=4, unique_by=lambda image: image["image_id"])
    )
    for image in images:
        columns = [name for name in ("boxes", "quads", "labels", "scores", "masks") if image.get(name) is not None]
        count = min(len(image[name]) for name in columns) if names else 0
        for name in columns:
            image[name] = image[name][:count]
        image["labels"] = [label % len(names) for label in image["labels"]]
        if "masks" in image:
            image["masks"] = [consistent(mask, image) for mask in image["masks"]]
    return header, images


@settings(max_examples=5, deadline=None)
@given(
    content=files(),
    ascii_only=st.booleans(),
    sort=st.booleans(),
    spaces=st.sampled_from([(",", ":"), (", ", ": "), (" , ", "\t: ")]),
)
def test_what_the_schema_allows_is_read(
    content: tuple[Any, list[Any]],
    ascii_only: bool,
    sort: bool,
    spaces: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    header, images = content
    for part, value in [("header", header), *(("image", image) for image in images)]:
        jsonschema.validate(value, {**SCHEMA, "$ref": f"#/$defs/{part}"}, jsonschema.Draft202012Validator)
    folder = tmp_path_factory.mktemp("allowed")
    path = folder / "p.jsonl"
    lines = [json.dumps(each, ensure_ascii=ascii_only, separators=spaces, sort_keys=sort) for each in (header, *images)]
    path.write_bytes("".join(each + "\n" for each in lines).encode())
    found = predictions.read(path)
    assert found.header.to_dict() == header
    for record, image in zip(found, images, strict=True):
        assert (record.image_id, record.width, record.height) == (image["image_id"], image["width"], image["height"])
        for name in ("boxes", "quads", "labels", "scores"):
            column = getattr(record, name)
            assert (column is None) == (image[name] is None)
            if column is not None:
                assert column.tolist() == np.array(image[name], dtype=column.dtype).reshape(column.shape).tolist()
        assert (record.masks is None) == ("masks" not in image)
        assert len(record.masks or []) == len(image.get("masks", []))
        assert dict(record.metadata) == {name: image[name] for name in ("status", "windows") if name in image}
    with predictions.Writer(path, found.header) as writer:
        assert writer.done == {image["image_id"] for image in images}
    before = path.read_bytes()
    part = tmp_path_factory.mktemp("parts") / "whole.jsonl.parts" / "part.jsonl"
    part.parent.mkdir()
    part.write_bytes(before)
    whole = join_all(Parts(part.parents[1] / "whole.jsonl", found.header))
    assert [record.image_id for record in predictions.read(whole)] == [image["image_id"] for image in images]
    assert whole.read_bytes().split(b"\n")[1:] == before.split(b"\n")[1:]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [2]}, r"a label outside 0\.\.1 - at `\$\.labels\[0\]`"),
        ({"labels": [-1]}, r"`int` >= 0"),
        ({"boxes": [[1, 2, -3, 4, 0]]}, r"`float` >= 0\.0 - at `\$\.boxes\[0\]\[2\]`"),
        ({"boxes": [[math.nan, 2, 3, 4, 0]]}, "not JSON compliant"),
        ({"boxes": [[2e9, 2, 3, 4, 0]]}, "<= 1000000000"),
        ({"image_id": 7}, r"Expected `str`, got `int` - at `\$\.image_id`"),
        ({"image_id": "\ud800"}, "surrogates not allowed"),
        ({"width": 0}, r">= 1 - at `\$\.width`"),
        ({"metadata": {"status": "fine"}}, r"Invalid enum value 'fine' - at `\$\.status`"),
        ({"metadata": {"windows": [{"text": ""}]}}, "missing required field `window`"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_could_not_be_read_back_is_not_written(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    record: dict[str, Any] = {
        "image_id": "a",
        "boxes": np.array([[1.0, 2, 3, 4, 0]]),
        "labels": np.array([0]),
        "width": 9,
        "height": 9,
    }
    with predictions.Writer(path, RUN) as writer:
        before = path.read_bytes()
        with pytest.raises(PredictionsError, match=message):
            writer.write(ImageRecord(**{**record, **change}))
        assert path.read_bytes() == before
        writer.write(ImageRecord(**record))
    assert len(predictions.read(path)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"generation": {"top_p": math.nan}},
        {"codec": {"version": 1}},
        {"fingerprint": 7},
        {"dataset": {"path": Path("x")}},
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_header_that_could_not_be_read_back_begins_no_file(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="header"):
        predictions.Writer(
            tmp_path / "p.jsonl", predictions.Header(ClassNames(["plane"]), **{"fingerprint": "x", **change})
        )
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_of_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "x\0y", tmp_path / ("n" * 300), tmp_path / "p.jsonl" / "q"):
        (tmp_path / "p.jsonl").touch()
        for call in (CALLS["read"], CALLS["go on"]):
            with pytest.raises(PredictionsError, match=r"expected a (p(redictions file|ath)|folder of files)"):
                call(path)
