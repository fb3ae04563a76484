"""Predictions as Parquet, with pyarrow and pandas as other programs that read and write it; and part files of a run."""

from __future__ import annotations

import dataclasses
import json
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rbox_formats import ClassNames, ImageRecord, datasets, predictions, rbox_to_quad
from rbox_formats.cli.main import main
from rbox_formats.errors import PredictionsError
from rbox_formats.predictions import _parquet
from rbox_formats.predictions._footer import read_row_groups

HEADER = predictions.Header(ClassNames(["plane", "ship"]), "sha256:é", {"name": "florence2"}, {"beams": 3})


def record(image_id: str, count: int, *, scored: bool = True, rich: bool = True) -> ImageRecord:
    rng = np.random.default_rng(count)
    boxes = rng.uniform(1, 100, (count, 5))
    window = {
        "window": [0, 0, 640],
        "text": "ship… ",
        "status": "boxes",
        "rejected": [[1, 2, "no number"]],
        "class": "s",
    }
    return ImageRecord(
        image_id,
        boxes,
        np.arange(count) % 2,
        quads=rbox_to_quad(boxes) if rich else None,
        scores=rng.random(count) if scored else None,
        width=640 if rich else None,
        height=480 if rich else None,
        metadata={"status": "boxes", "windows": [window]} if rich else {},
        masks=[[[0, 0, 4, 0, 4, 4.5, 0, 4]], {"size": [480, 640], "counts": [100, 50, 640 * 480 - 150]}][:count]
        if rich and count == 2
        else None,
    )


RECORDS = [record("a", 2), record("../b", 0, rich=False), record("c é", 3, scored=False), record("d", 5, rich=False)]


def lines(path: Path) -> list[str]:
    return [json.dumps(predictions.to_dict(each)) for each in predictions.read(path)]


def test_parquet_holds_what_lines_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, and in row groups of any size, decoded in batches of any size."""
    whole = tmp_path / "p.jsonl"
    predictions.write(whole, HEADER, RECORDS)
    assert lines(whole) == [json.dumps(predictions.to_dict(each)) for each in RECORDS]
    for objects, at_once in ((2**18, 2**16), (4, 1), (1, 2)):
        monkeypatch.setattr(_parquet, "_OBJECTS", objects)
        monkeypatch.setattr(_parquet, "_AT_ONCE", at_once)
        predictions.write(tmp_path / "p.parquet", HEADER, predictions.stream(whole))
        assert predictions.stream(tmp_path / "p.parquet").header == predictions.stream(whole).header == HEADER
        assert lines(tmp_path / "p.parquet") == lines(whole)
    assert pq.ParquetFile(tmp_path / "p.parquet").num_row_groups == 3
    predictions.write(tmp_path / "none.parquet", HEADER, [])
    assert lines(tmp_path / "none.parquet") == []


def test_pandas_makes_a_row_of_each_object(tmp_path: Path) -> None:
    predictions.write(tmp_path / "p.parquet", HEADER, [RECORDS[3], record("e", 4, rich=False)])
    columns = ["cx", "cy", "w", "h", "angle", "label", "score"]
    rows = pd.read_parquet(tmp_path / "p.parquet").explode(columns)
    assert rows.image_id.tolist() == ["d"] * 5 + ["e"] * 4
    np.testing.assert_array_equal(rows[columns[:5]].iloc[:5].to_numpy(np.float64), RECORDS[3].boxes)
    assert rows.label.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1]


def test_what_others_have_written_again_is_read(tmp_path: Path) -> None:
    """Larger types, one row group, columns in another order, missing ones, further ones."""
    predictions.write(tmp_path / "p.parquet", HEADER, RECORDS[3:])
    table = pq.read_table(tmp_path / "p.parquet")
    names = ["score", "label", "h", "angle", "w", "cy", "cx", "image_id"]
    columns = [table[name].cast(pa.large_list(pa.float64())) for name in names[:1]]
    columns += [table["label"].cast(pa.list_(pa.int64())), *(table[name] for name in names[2:-1])]
    columns += [table["image_id"].dictionary_encode(), pa.array(["extra"])]
    other = pa.table(columns, names=[*names, "comment"]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(other, tmp_path / "again.parquet", compression="snappy")
    (found,) = predictions.read(tmp_path / "again.parquet")
    for field in dataclasses.fields(ImageRecord):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(RECORDS[3], field.name))


def changed(column: str, values: Any, kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.schema.get_field_index(column), column, pa.array(values, kind or table.schema.field(column).type)
    )


LIST = pa.list_(pa.float64())
# A change to the rows "a" and "d" of two objects each, and what is said of it.
WRONG: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "no header": (lambda table: table.replace_schema_metadata(None), "header in the metadata 'rbox_predictions'"),
    "a header of another version": (
        lambda table: table.replace_schema_metadata({"rbox_predictions": '{"schema_version": 9}'}),
        "expected schema version 1, got 9",
    ),
    "no boxes": (lambda table: table.drop_columns("cx"), "expected one column 'cx', found none"),
    "two columns": (lambda table: table.append_column("cx", table["cx"]), "expected one column 'cx', found 2"),
    "texts": (changed("cx", ["a", "b"], pa.string()), "lists of numbers in the column 'cx', got 'string'"),
    "numbers of another kind": (changed("label", [[0.0, 1], [0, 1]], LIST), "lists of whole numbers in the column"),
    "a number of no list": (changed("score", [0.5, 0.5], pa.float64()), "lists of numbers in the column 'score'"),
    "no id": (changed("image_id", ["a", None], pa.string()), "row 2: expected an image_id, got null"),
    "ids twice": (changed("image_id", ["a", "a"], pa.string()), "expected each image once, got 'a' again"),
    "unequal lists": (changed("cy", [[1, 2], [1]], LIST), "row 2: expected as many values of cy as of cx, 2, got 1"),
    "no list": (
        changed("angle", [None, [1, 2]], LIST),
        "row 1: expected as many values of angle as of cx, 2, got null",
    ),
    "unequal scores": (changed("score", [[1], [1, 1]], LIST), "row 1: expected as many values of score"),
    "a null": (changed("w", [[1, 2], [1, None]], LIST), "row 2: a null in w"),
    "no number": (changed("h", [[1, 2], [np.nan, 2]], LIST), "row 2: expected finite numbers up to 1000000000"),
    "infinite": (changed("score", [[1, np.inf], [1, 2]], LIST), "row 1: expected scores up to 1000000000"),
    "a side": (changed("w", [[1, 2], [1, -1]], LIST), "row 2: expected sides of zero or more"),
    "a label": (changed("label", [[0, 1], [0, 2]], pa.list_(pa.int32())), r"row 2: expected labels in 0\.\.1"),
    "a large label": (changed("label", [[0, 1], [0, 2**64 - 1]], pa.list_(pa.uint64())), r"labels in 0\.\.1"),
    "corners": (
        changed("quad", [[[0.0] * 8] * 2, [[0.0] * 8, [0.0] * 7]], pa.list_(LIST)),
        "row 2: expected eight numbers of each quad",
    ),
    "null corners": (changed("quad", [[[0.0] * 8] * 2, [[0.0] * 7 + [None]] * 2], pa.list_(LIST)), "a null in quad"),
    "a size": (changed("width", [640, 0], pa.int64()), "row 2: expected a width of 1 pixel or more, got 0"),
    "a status": (changed("status", ["boxes", "fine"], pa.string()), "row 2: expected a status among boxes,"),
    "windows": (changed("windows", ["[{}]", None], pa.string()), "row 1: expected windows and masks as in a line"),
    "masks": (changed("masks", [["[[1, 2]]"] * 2, None], pa.list_(pa.string())), "row 1: expected windows and masks"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_breaks_the_schema_is_named(what: str, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions.write(path, HEADER, [record("a", 2), record("d", 2)])
    change, message = WRONG[what]
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(PredictionsError, match=message) as caught:
        predictions.read(path)
    assert str(caught.value).startswith(f"{path}:")


def test_a_footer_is_not_longer_than_its_file_nor_than_16_mib(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    for size, length in ((100, 89), (100, 2**24 + 1), (2**25, 2**24 + 1)):
        with path.open("wb") as file:
            file.truncate(size - 8)
            file.seek(size - 8)
            file.write(length.to_bytes(4, "little") + b"PAR1")
        with pytest.raises(PredictionsError, match="expected a whole Parquet file with a footer up to 16777216 bytes"):
            read_row_groups(path)


def test_a_file_that_unpacks_to_far_more_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of very many equal boxes, which take hardly any room; the size from which on it counts is lowered."""
    path = tmp_path / "p.parquet"
    predictions.write(path, HEADER, [record("a", 1, rich=False)])
    (row,) = pq.read_table(path).to_batches()
    many = 200_000
    columns = {
        name: pa.ListArray.from_arrays(
            pa.array([0, many], pa.int32()), pa.array(np.zeros(many, np.int32)).cast(kind.type.value_type)
        )
        if (kind := row.schema.field(name)) and name in ("cx", "cy", "w", "h", "angle", "label", "score")
        else row[name]
        for name in row.schema.names
    }
    table = pa.table(columns, schema=row.schema)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # nothing is decoded
    for limit, copies, what in ((2**20, 1, "row group 1"), (2**24, 4, "all row groups")):
        monkeypatch.setattr(_parquet, "LARGEST_GROUP", limit)
        pq.write_table(pa.concat_tables([table] * copies), path, compression="zstd", row_group_size=1)
        assert path.stat().st_size < 100_000
        with pytest.raises(PredictionsError, match=rf"expected at most 100 times .*got [0-9,]+ bytes .* in {what}"):
            predictions.read(path)


@pytest.mark.parametrize("ending", predictions.SUFFIXES)
def test_a_stream_holds_a_part_of_a_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the images take no more memory, at any time."""
    monkeypatch.setattr(_parquet, "_AT_ONCE", 400)
    peaks = []
    for count in (50, 200):
        path = tmp_path / f"{count}{ending}"
        predictions.write(path, HEADER, (record(f"{number}", 40 + number % 2, rich=False) for number in range(count)))
        list(predictions.stream(path))
        tracemalloc.start()
        assert sum(len(each) for each in predictions.stream(path)) == count * 40 + count // 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, and with a byte changed anywhere: a checksum of each page tells."""
    path = tmp_path / "p.parquet"
    predictions.write(path, HEADER, [record("a", 40), record("b", 40)])
    whole, expected = path.read_bytes(), lines(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60).tolist():
        path.write_bytes(whole[:place])
        with pytest.raises(PredictionsError):
            predictions.read(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with suppress(PredictionsError):  # or it means nothing, such as one of the statistics
            assert lines(path) == expected


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    wrong = {
        "scores up to": dataclasses.replace(RECORDS[3], image_id="x", scores=np.full(5, np.nan)),
        "labels in": dataclasses.replace(RECORDS[3], image_id="x", labels=np.full(5, 2)),
        "each image once": RECORDS[3],
        "for JSON": dataclasses.replace(RECORDS[3], image_id="\ud800"),
        "status": dataclasses.replace(RECORDS[0], image_id="x", metadata={"status": "fine"}),
        "metadata": dataclasses.replace(RECORDS[0], image_id="x", metadata={"windows": [np.zeros(3)]}),
    }
    for message, broken in wrong.items():
        with pytest.raises(PredictionsError, match=message):
            predictions.write(tmp_path / "p.parquet", HEADER, [RECORDS[3], broken])
    assert not list(tmp_path.iterdir())


def test_part_files_are_read_as_one(tmp_path: Path) -> None:
    predictions.write(tmp_path / "whole.jsonl", HEADER, RECORDS)
    parts = tmp_path / "parts"
    predictions.write(parts / "1.jsonl", HEADER, RECORDS[:1])
    predictions.write(parts / "2.parquet", HEADER, RECORDS[1:3])
    predictions.write(parts / "3.jsonl", HEADER, RECORDS[3:])
    (parts / "notes.txt").write_text("not one of them")
    (parts / ".4.jsonl").write_text("half written")
    assert lines(parts) == lines(tmp_path / "whole.jsonl")
    assert lines([parts / "3.jsonl", parts / "1.jsonl"]) == [*lines(parts)[3:], *lines(parts)[:1]]
    assert len(list(stream := predictions.stream(parts))) == len(list(stream)) == 4

    predictions.write(parts / "4.jsonl", HEADER, [record("d", 1)])
    with pytest.raises(PredictionsError, match=r"4\.jsonl:2: expected each image once, got 'd' again"):
        predictions.read(parts)
    predictions.write(parts / "4.jsonl", dataclasses.replace(HEADER, fingerprint="sha256:2"), [])
    with pytest.raises(PredictionsError, match=r"4\.jsonl: expected predictions of the same run, .*fingerprint"):
        predictions.stream(parts)
    (parts / "4.jsonl").write_bytes((parts / "1.jsonl").read_bytes()[:-1])
    with pytest.raises(PredictionsError, match=r"4\.jsonl: expected whole lines, got a torn last one"):
        predictions.read([parts / "4.jsonl"])
    with pytest.raises(PredictionsError, match=r"expected a folder of files that end in \.jsonl or \.parquet"):
        predictions.read([])


def test_convert_writes_parquet_and_reads_it(tmp_path: Path) -> None:
    source = tmp_path / "parts"
    predictions.write(source / "1.jsonl", HEADER, [record("a", 3)])
    predictions.write(source / "2.jsonl", HEADER, [record("b", 0, rich=False)])
    words = ["convert", "--data", str(source), "--format", "predictions", "--to", "predictions", "--out"]
    result = CliRunner().invoke(main, [*words, str(tmp_path / "p.parquet")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Read back, it is the same." in result.output
    found = list(datasets.read("predictions", tmp_path / "p.parquet"))
    assert [(each.image_id, len(each), each.metadata) for each in found] == [("a", 3, {}), ("b", 0, {})]
    np.testing.assert_array_equal(found[0].boxes, record("a", 3).boxes)


def test_a_name_that_leaves_the_folder_names_no_file(tmp_path: Path) -> None:
    """A name may be any text; where it would become a file's, it is refused."""
    predictions.write(tmp_path / "p.parquet", HEADER, [record("../../b", 1)])
    words = ["convert", "--data", str(tmp_path / "p.parquet"), "--format", "predictions", "--to", "dota", "--out"]
    result = CliRunner().invoke(main, [*words, str(tmp_path / "deep" / "out")])
    assert result.exit_code == 1
    assert "expected a plain file name inside" in result.output
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["p.parquet"]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PredictionsError, match=r"pip install rbox-formats\[parquet\]"):
        predictions.write(tmp_path / "p.parquet", HEADER, [])
