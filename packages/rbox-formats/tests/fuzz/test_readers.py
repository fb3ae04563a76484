"""Every reader meets files that are damaged: it reads them, or says what is wrong with them in one of our errors."""

from __future__ import annotations

import random
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, RboxError, datasets
from rbox_formats.datasets import FORMATS

READ = [name for name, entry in FORMATS.items() if entry.read]
IMAGE_SUFFIXES = (".png", ".jpg", ".bmp")
STRAYS = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b" ", b"\t", b",", b":", b";", b"-", b".", b"0", b"1", b"nan"),
    *(b"inf", b"1e999", b"-1", b"9" * 40, b"null", b"true", b"[]", b"{}", b'"', b"\\", b"<", b">", b"</", b"&", b"&x;"),
    *(b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"../", b"/etc/passwd", b"C:\\", "é".encode(), b"\xed\xa0\x80", b"[" * 2000),
    *(b'{"a":' * 500, b"<a>" * 500, b"2", b"tram"),
]


def make(name: str, root: Path) -> list[Path]:
    """A dataset of two images in a format; returns the files that are not images."""
    entry = FORMATS[name]
    names = entry.class_names or ClassNames(["ship", "small-vehicle"])
    records = []
    for number in range(2):
        rng = np.random.default_rng(number)
        corners = np.array([[[10.0, 10.0], [50.0, 14.0], [48.0, 30.0], [9.0, 27.0]]]) + rng.uniform(0, 20, (3, 1, 2))
        labels = np.arange(3) % len(names)
        records.append(ImageRecord.from_quads(f"P{number}", corners, labels, width=100, height=80))
    folder = entry.images(root, None) if entry.images else root
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{record.image_id}{'.bmp' if name.startswith('hrsc') else '.png'}" for record in records]
    for path in paths:
        Image.new("RGB", (100, 80)).save(path)
    with_paths = [
        ImageRecord(r.image_id, r.boxes, r.labels, r.quads, path=path, width=100, height=80)
        for r, path in zip(records, paths, strict=True)
    ]
    datasets.write(name, with_paths, root, None, names)
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in IMAGE_SUFFIXES)


def mutated(content: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        a = chance.randint(0, len(content))
        b = min(len(content), a + chance.choice([0, 1, 1, 2, 8, 60]))
        stray = chance.choice([*STRAYS, b"", content[a:b] * 2, content[a:b][::-1]])
        content = content[:a] + stray + content[b:]
    return content


def fuzz(name: str, root: Path, count: int, seed: int) -> int:
    """Damages one file at a time; returns how often that was refused."""
    annotated = make(name, root)
    # Without damage it reads, or the test would prove nothing.
    assert sum(map(len, datasets.read(name, root))) == 6
    chance, refused = random.Random(seed), 0
    whole = {path: path.read_bytes() for path in annotated}
    for _ in range(count):
        path = chance.choice(annotated)
        path.write_bytes(mutated(whole[path], chance))
        try:
            for record in datasets.read(name, root):
                assert np.isfinite(record.boxes).all()
                assert record.path is None or record.path.resolve().is_relative_to(root.resolve())
        except RboxError as error:
            refused += "expected" in str(error)  # all of our errors say what was
        path.write_bytes(whole[path])
    return refused


@pytest.mark.parametrize("name", READ)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    assert fuzz(name, tmp_path, 40, seed=1) > 4


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_very_many_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fuzz(name, tmp_path, 1_500, seed=2) > 150
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
