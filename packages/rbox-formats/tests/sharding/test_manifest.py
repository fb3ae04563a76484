"""Manifests of shards, and what they are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import tiling
from rbox_formats.cli.main import main
from rbox_formats.errors import FormatsError, ManifestError
from rbox_formats.sharding import Located, make_manifest, read_manifest, read_stac, shards, write_manifest

SIZES = {"a": (300, 200), "b": (2000, 1500), "c": (64, 64)}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name, size in SIZES.items():
        Image.new("RGB", size).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("window", [128, 0])
def test_what_is_written_is_read(kind: str, window: int, archive: Path, tmp_path: Path) -> None:
    manifest = make_manifest(sorted(archive.iterdir()), window=window, shard_windows=16)
    path = write_manifest(tmp_path / f"archive.{kind}", manifest)
    read = read_manifest(path)
    assert [(name, file.resolve(), size) for name, file, size in read.images] == [
        (name, archive / f"{name}.png", size) for name, size in SIZES.items()
    ]
    found, expected = read.plan(), manifest.plan()
    assert [shard.fingerprint for shard in found] == [shard.fingerprint for shard in expected]
    by_hand = [
        tiling.windows(*size, 128, 25) if window else [tiling.Window(0, 0, max(size))] for size in SIZES.values()
    ]
    assert [list(scene.windows) for scene in read.scenes()] == by_hand
    # Both move together.
    moved = tmp_path / "moved"
    moved.mkdir()
    archive.rename(moved / "scenes")
    again = read_manifest(path.rename(moved / path.name))
    assert all(file.is_file() for file in again.files.values())


def test_shards_cost_about_the_same() -> None:
    found = [Located(f"s{n}", Path("x"), (1024 * (1 + n % 40), 1024)) for n in range(200)]
    loads = [shard.windows for shard in make_manifest(found, window=1024, gap=0, shard_windows=16).plan()]
    assert sum(loads) == sum(1 + n % 40 for n in range(200))
    assert max(loads) < 48


def test_command(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "archive.jsonl"
    words = ["shards", "--window", "128", "--shard-windows", "16", "--out", str(out), str(archive)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    counts = [len(tiling.windows(*size, 128, 25)) for size in SIZES.values()]
    plan = read_manifest(out).plan()
    assert f"divides 3 images with {sum(counts)} windows into {len(plan)} shards" in done.output
    assert len(plan) > 3
    for words, message in [
        (["shards", "--out", str(out)], "either --data, or images"),
        (["shards", "--asset", "visual", "--out", str(out), str(archive)], "--asset names"),
        (["shards", "--gap", "128", "--window", "128", "--out", str(out), str(archive)], "below the window of 128"),
    ]:
        done = CliRunner().invoke(main, words)
        assert done.exit_code != 0
        assert message in done.output


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: lines[0].update(manifest_version=2), "expected manifest version 1, got 2"),
        (lambda lines: lines[0].update(window=64), "expected the shards that this version makes"),
        (lambda lines: lines[1]["images"][0].update(size=[301, 200]), "expected the shards that this version makes"),
        (lambda lines: lines[1].update(shard="0"), "expected the shards that this version makes"),
        (lambda lines: lines.pop(), "expected the shards that this version makes"),
        (lambda lines: lines[1].update(more=1), r"archive\.jsonl:2: expected a line of a manifest"),
        (lambda lines: lines[1]["images"][0].update(size=[0, 200]), r"archive\.jsonl:2: expected a line of a manifest"),
        (lambda lines: lines[2]["images"][0].update(path="other.png"), "one image of each id, got two of 'b'"),
    ],
)
def test_manifests_that_were_changed(change: Any, message: str, archive: Path, tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "archive.jsonl", make_manifest([archive / "a.png", archive / "b.png"], window=200))
    path = write_manifest(path, make_manifest([archive / "a.png", archive / "b.png"], window=200, shard_windows=20))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_what_is_no_manifest(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "nothing.jsonl")
    for name in ("found.jsonl", "found.parquet"):
        (tmp_path / name).write_bytes(b"\xff\x00PAR1")
        with pytest.raises(ManifestError, match="expected a"):
            read_manifest(tmp_path / name)
    with pytest.raises(FormatsError, match="shards of one window or more"):
        make_manifest([archive], shard_windows=0)


def item(name: str, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        **{"type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": []},
        "properties": {"datetime": "2026-05-01T10:00:00Z", **properties},
        "assets": assets,
    }


def collection(tmp_path: Path, *items: Any) -> Path:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def test_items_of_stac(tmp_path: Path) -> None:
    """As collections of Sentinel-2 have them: rows before columns, in the asset or the properties, and equal names."""
    path = collection(
        tmp_path,
        item("S2A", {"visual": {"href": "./S2A/TCI.tif", "proj:shape": [10980, 5490]}, "B04": {"href": "B04.tif"}}),
        item("S2B", {"rendered": {"href": "/data/S2B/TCI.tif", "roles": ["visual"]}}, **{"proj:shape": [7, 9]}),
        item("NAIP", {"image": {"href": "m_3008501.tif"}, "thumbnail": {"href": "t.jpg", "roles": ["thumbnail"]}}),
    )
    assert read_stac(path) == [
        Located("S2A", tmp_path / "S2A" / "TCI.tif", (5490, 10980)),
        Located("S2B", Path("/data/S2B/TCI.tif"), (9, 7)),
        Located("NAIP", tmp_path / "m_3008501.tif", None),
    ]
    with pytest.raises(ManifestError, match="one asset to be the image of item 'S2B', got 'rendered'"):
        read_stac(path, asset="B04")
    plan = shards(make_manifest(read_stac(path)[:2]).scenes(), 1000)
    assert [piece.scene.image_id for shard in plan for piece in shard.pieces] == ["S2A", "S2B"]


@pytest.mark.parametrize(
    "found, message",
    [
        (item("../../etc", {"image": {"href": "a.tif"}}), "etc"),
        (item("a", {"image": {"href": "https://example.org/a.tif"}}), "expected files on this machine"),
        (item("a", {"image": {"href": "s3://bucket/a.tif"}}), "expected files on this machine"),
        (item("a", {"image": {}}), "an asset with a href in item 'a'"),
        (item("a", {"B02": {"href": "a.tif"}, "B03": {"href": "b.tif"}}), "one asset to be the image of item 'a'"),
        ({"type": "Feature", "geometry": None}, "expected a STAC item collection"),
        (7, "expected a STAC item collection"),
    ],
)
def test_items_that_name_no_file_here(found: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatsError, match=message):
        read_stac(collection(tmp_path, found))
