"""Zips from outside: bombs, lies and damage, made here."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import archives
from rbox_formats.errors import DatasetError, ImageError

TEXT = b"P1 0.5 0 0 4 0 4 2 0 2\n" * 40
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def packed(content: bytes = TEXT, method: int = zipfile.ZIP_DEFLATED, name: str = "a.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def read_all(path: Path, *, look: bool = True) -> list[bytes]:
    """As every reader goes: open, look at the directory, unpack."""
    if not archives.is_archive(path):
        raise DatasetError("no zip", path=path)
    with archives.opened(path) as archive:
        members = archive.infolist()
        if look:
            archives.require_reasonable(members, path)
        return [archives.read(archive, info, path) for info in members]


def field(data: bytes, signature: bytes, offset: int, value: int, layout: str = "<I") -> bytes:
    """The archive with another number in its first record of a kind."""
    place = data.index(signature) + offset
    return data[:place] + struct.pack(layout, value) + data[place + struct.calcsize(layout) :]


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize("method", ["stored", "deflate"])
def test_what_is_whole_is_read(method: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(packed(method=METHODS[method]))
    assert read_all(path) == [TEXT]
    path.write_bytes(packed(b"", METHODS[method]))
    assert read_all(path) == [b""]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed(bytes(2**26)))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    message = (
        r"a\.zip: expected at most 100 bytes for each that is packed, got 67108864 out of \d+ \('a\.txt'\)\nWrite it"
    )
    with pytest.raises(DatasetError, match=message):
        read_all(path)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


# zipfile unpacks 600 MB for the 300 bytes of bzip2 in such a file.
@pytest.mark.parametrize("method", ["bzip2", "lzma"])
def test_what_zipfile_unpacks_without_bounds_is_refused(method: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed(method=METHODS[method]))
    with pytest.raises(
        DatasetError, match=rf"stored or deflated, got 'a\.txt' by method {METHODS[method]}\nWrite it again"
    ):
        read_all(path)


def test_a_bomb_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    """The directory says 1,000 bytes: what comes out is looked at piece by piece."""
    path = tmp_path / "a.zip"
    data = packed(bytes(2**26))
    path.write_bytes(field(field(data, CENTRAL, 24, 1000), LOCAL, 22, 1000))
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"expected a whole zip, got 'a\.txt'"):
        read_all(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_total_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(field(packed(), CENTRAL, 24, 0xFFFFFFF0))
    monkeypatch.setattr(archives, "MOST_RATIO", 10**9)
    monkeypatch.setattr(archives, "LARGEST", 0xFFFFFFEF)
    with pytest.raises(DatasetError, match="expected at most 4294967279 bytes when unpacked, got 4294967280"):
        read_all(path)
    monkeypatch.setattr(archives, "LARGEST", 0xFFFFFFF0)
    with pytest.raises(
        DatasetError, match=r"expected a whole zip, got 920 bytes of 'a\.txt', which is to have 4294967280"
    ):
        read_all(path)


def overlapping(members: int, size: int) -> bytes:
    """Members that share what is packed (Fifield, A better zip bomb): each alone is within the ratio."""
    content = np.random.default_rng(0).bytes(size)
    data = b"".join([packed(content, zipfile.ZIP_STORED, name="0.bin")[: 30 + 5 + size]])
    entries = []
    for number in range(members):
        name = f"{number}.bin".encode()
        head = struct.pack(
            "<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, zlib.crc32(content), size, size, len(name), 0, 0, 0, 0, 0, 0
        )
        entries.append(CENTRAL + head + name)
    directory = b"".join(entries)
    end = END + struct.pack("<HHHHIIH", 0, 0, members, members, len(directory), len(data), 0)
    return data + directory + end


def test_members_that_share_what_is_packed_count_each(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(overlapping(500, 50_000))
    with pytest.raises(DatasetError, match=r"at most 100 bytes for each .*, got 25000000 out of \d+ \(all of it\)"):
        read_all(path)


def test_a_zip_within_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    inner = packed(bytes(2**26))
    path = tmp_path / "a.zip"
    path.write_bytes(packed(inner, name="inner.zip"))
    assert read_all(path) == [inner]


def test_a_password_and_a_method_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(field(field(packed(), CENTRAL, 8, 1, "<H"), LOCAL, 6, 1, "<H"))
    with pytest.raises(DatasetError, match=r"expected a zip without a password, got 'a\.txt' with one"):
        read_all(path)
    path.write_bytes(field(field(packed(), CENTRAL, 10, 97, "<H"), LOCAL, 8, 97, "<H"))
    with pytest.raises(DatasetError, match=r"stored or deflated, got 'a\.txt' by method 97"):
        read_all(path)


@pytest.mark.parametrize("method", METHODS)
def test_an_archive_cut_anywhere_is_an_error(method: str, tmp_path: Path) -> None:
    whole = packed(method=METHODS[method])
    path = tmp_path / "a.zip"
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError) as error:
            read_all(path)
        assert len(str(error.value)) < 600


@pytest.mark.parametrize("method", METHODS)
def test_an_archive_with_a_bit_changed_is_read_or_an_error_of_ours(method: str, tmp_path: Path) -> None:
    """Every byte, each with some other value; what is read is what was packed, under one name or another."""
    whole = packed(method=METHODS[method], content=TEXT)
    rng = np.random.default_rng(0)
    path = tmp_path / "a.zip"
    places = range(len(whole)) if len(whole) < 400 else sorted(rng.choice(len(whole), 400, replace=False).tolist())
    kinds = set()
    for place in places:
        for value in {0, 255, whole[place] ^ (1 << int(rng.integers(8)))}:
            data = bytearray(whole)
            data[place] = value
            path.write_bytes(data)
            try:
                found = read_all(path, look=method in ("stored", "deflate"))
            except DatasetError as error:
                kinds.add(type(error.__cause__).__name__)
            else:
                assert found in ([TEXT], [])
    assert len(kinds) >= 3, kinds


def test_a_long_name_is_cut_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = bytearray(packed(name="a" * 60_000))
    data[30 + 60_000 + 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DatasetError) as error:
        read_all(path)
    assert len(str(error.value)) < 600


def test_what_others_unpack_is_looked_over(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for data in (packed(bytes(2**26)), overlapping(500, 50_000)):
        path.write_bytes(data)
        with pytest.raises(ImageError, match="at most 100 bytes for each that is packed"):
            archives.check(path, ImageError)
    for data in (packed(), b"no zip", packed()[:-8], packed(np.random.default_rng(0).bytes(2**21), zipfile.ZIP_STORED)):
        path.write_bytes(data)
        archives.check(path, ImageError)
