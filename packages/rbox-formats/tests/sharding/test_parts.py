"""Part files: written by anybody, in any order, however often, they join to the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rbox_formats import ImageRecord, predictions
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.sharding import Outcome, Parts, Shard, complete, detect_parts, detect_scenes, shards
from rbox_testing.telling import HEADER, Telling, compute, scenes_of, together

COUNTS = [2, 30, 1, 1, 5, 9, 1]  # P1 is divided among shards, and the others are not
AtOnce = Callable[[Sequence[Shard]], bytes]


def plan() -> list[Shard]:
    return shards(scenes_of(COUNTS), 6)


def write(path: Path, ids: Sequence[str], header: predictions.Header = HEADER) -> Path:
    with predictions.Writer(path, header) as writer:
        for image_id in ids:
            writer.write(ImageRecord(image_id, [[5, 5, 4, 2, 0]], [0], metadata={"status": "boxes"}))
    return path


def ids(path: Path) -> list[str]:
    return [record.image_id for record in predictions.read(path)]


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WHOLE: dict[str, bytes] = {}


def join(out: Path, shards: Sequence[Shard], *, skip_broken: bool = False) -> list[str] | None:
    """What a process does that finds all done; the broken images, or None where shards are left."""
    parts = Parts(out, HEADER)
    outcome, is_joined = complete(
        parts, shards, lambda _: Outcome(Counter(), {}), together, share=(0, 1), skip_broken=skip_broken
    )
    return list(outcome.broken) if is_joined else None


@settings(max_examples=6)
@given(order=st.permutations(range(len(plan()))), again=st.lists(st.integers(0, len(plan()) - 1), max_size=4))
def test_any_shard_may_be_computed_twice_by_anybody_in_any_order(order: list[int], again: list[int]) -> None:
    with TemporaryDirectory() as folder:
        if not WHOLE:
            parts = Parts(Path(folder) / "whole.jsonl", HEADER)
            compute(plan(), parts)
            parts.join(plan(), together)
            WHOLE["bytes"] = parts.out.read_bytes()
        out = Path(folder) / "found.jsonl"
        for number in (*order, *again):
            compute([plan()[number]], Parts(out, HEADER))  # a process of its own each
        assert Parts(out, HEADER).left(plan()) == []
        assert join(out, plan()) == []
        assert out.read_bytes() == WHOLE["bytes"]
        assert listed(Path(folder)) in (["found.jsonl"], ["found.jsonl", "whole.jsonl"])


def test_images_that_are_divided_come_out_as_those_that_are_not(at_once: AtOnce, tmp_path: Path) -> None:
    at_once(plan())
    joined = predictions.read(tmp_path / "at-once.jsonl")
    assert [record.image_id for record in joined] == [f"P{number}" for number in range(len(COUNTS))]
    # In memory the same images are divided by the batch size, so that their batches, and with them the scores, differ.
    for record, expected in zip(joined, detect_scenes(Telling(), scenes_of(COUNTS)), strict=True):
        assert record.size == expected.size
        np.testing.assert_array_equal(record.boxes, expected.boxes)
        assert record.metadata == expected.metadata


def test_what_is_left(tmp_path: Path) -> None:
    made = plan()
    parts = Parts(tmp_path / "found.jsonl", HEADER)
    assert parts.left(made) == made
    compute([made[2], made[0]], parts)
    assert parts.left(made) == made  # it looks when it is asked to
    parts.look()
    assert parts.left(made) == [made[1], *made[3:]]
    with pytest.raises(PredictionsError, match=f"parts of {len(made)} shards, {len(made) - 2} of them are missing"):
        parts.join(made, together)
    assert join(parts.out, made) is None
    assert len(listed(parts.folder)) == 2


def test_what_was_found_stays_where_shards_are_others(at_once: AtOnce, tmp_path: Path) -> None:
    """More images, or another batch size: images that are held are not computed again."""
    out = tmp_path / "found.jsonl"
    compute(plan()[:1], Parts(out, HEADER))  # P0
    others = shards(scenes_of([2, 3]), 2)
    assert [piece.scene.image_id for shard in others for piece in shard.pieces] == ["P0", "P1"]
    assert Parts(out, HEADER).left(others) == others[1:]
    compute(others[1:], Parts(out, HEADER))
    join(out, others)
    assert ids(out) == ["P0", "P1"]
    more = shards(scenes_of([2, 3, 1]), 2)
    (left,) = Parts(out, HEADER).left(more)
    assert [piece.scene.image_id for piece in left.pieces] == ["P2"]


def test_images_of_the_file_stay_in_it(tmp_path: Path) -> None:
    """What it held before, in the order of the plan, and others last; a torn last line is dropped."""
    out = write(tmp_path / "found.jsonl", ["x", "P2"])
    with out.open("ab") as file:
        file.write('{"image_id": "é'.encode()[:-1])
    made = shards(scenes_of([1, 1, 1, 1]), 1)
    parts = Parts(out, HEADER)
    assert [shard.pieces[0].scene.image_id for shard in parts.left(made)] == ["P0", "P1", "P3"]
    compute(made, parts)
    parts.join(made, together)
    assert ids(out) == ["P0", "P1", "P2", "P3", "x"]
    assert predictions.read(out)[2].boxes.tolist() == [[5, 5, 4, 2, 0]]
    assert listed(tmp_path) == ["found.jsonl"]


def test_a_file_that_holds_everything_is_left_alone(tmp_path: Path) -> None:
    made = shards(scenes_of([1, 1]), 1)
    out = write(tmp_path / "found.jsonl", ["P0", "P1"])
    before = out.stat().st_mtime_ns
    assert join(out, made) == []
    assert out.stat().st_mtime_ns == before
    with out.open("ab") as file:
        file.write(b'{"image_id"')  # torn, as of an image that is asked for no more
    assert join(out, made) == []
    assert ids(out) == ["P0", "P1"]
    assert join(tmp_path / "empty.jsonl", []) == []
    assert ids(tmp_path / "empty.jsonl") == []


def test_another_runs_files_are_refused_and_stay(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    other = replace(HEADER, fingerprint="other")
    parts = Parts(out, other)
    compute(plan()[:1], parts)
    (path,) = parts.folder.iterdir()
    with pytest.raises(PredictionsError, match=f"{path.name}: expected predictions of the same run"):
        Parts(out, HEADER)
    path.unlink()
    write(out, ["P0"], other)
    with pytest.raises(PredictionsError, match=r"found\.jsonl: expected predictions of the same run"):
        Parts(out, HEADER)
    assert ids(out) == ["P0"]


def test_a_part_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    compute(plan(), Parts(out, HEADER))
    path = sorted((tmp_path / "found.jsonl.parts").iterdir())[0]
    path.write_text(path.read_text().replace('"labels": [0]', '"labels": [7]'), encoding="utf-8")
    with pytest.raises(PredictionsError, match=r"label outside 0\.\.0"):
        Parts(out, HEADER)
    assert not out.exists()


def test_what_killed_processes_and_others_left_in_the_folder(at_once: AtOnce, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    folder = tmp_path / "found.jsonl.parts"
    folder.mkdir()
    (folder / ".rbox-tmp-abcdefgh.jsonl").write_text("{half a li")
    (folder / "notes.txt").write_text("mine")
    compute(plan(), Parts(out, HEADER))
    join(out, plan())
    assert out.read_bytes() == at_once(plan())
    assert listed(folder) == ["notes.txt"]


def test_broken_images(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 50, 3), dtype=np.uint8)).save(path)
    steps = Telling()
    made = shards([steps.scene(path) for path in paths], 9)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    parts = Parts(tmp_path / "found.jsonl", HEADER)
    with pytest.raises(ImageError, match=r"b\.png"):
        detect_parts(steps, parts.left(made), parts)
    outcome = detect_parts(steps, parts.left(made), parts, skip_broken=True)
    assert outcome.statuses == {"boxes": 2}
    assert list(outcome.broken) == ["b"]
    parts.look()
    assert parts.left(made, skip_broken=True) == []
    assert parts.left(made) == made[:1]  # who does not leave it out must see it
    assert join(parts.out, made) is None
    assert join(parts.out, made, skip_broken=True) == ["b"]
    assert ids(parts.out) == ["a", "c"]


def test_of_processes_that_end_together_each_finds_everything_joined(at_once: AtOnce, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    compute(plan(), Parts(out, HEADER))
    with ThreadPoolExecutor(4) as pool:
        joined = [pool.submit(join, out, plan()) for _ in range(4)]
    assert [each.result() for each in joined] == [[]] * 4
    assert out.read_bytes() == at_once(plan())
