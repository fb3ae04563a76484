from __future__ import annotations

from pathlib import Path

import pytest
from rbox_formats import files
from rbox_formats.errors import DatasetError, RboxError


def test_a_file_is_replaced_in_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old\n")
    with pytest.raises(TypeError), files.replacing(path) as temporary:
        temporary.write_text("half" + None)  # type: ignore[operator]
    assert path.read_bytes() == b"old\n"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a.png")
    with pytest.raises(
        DatasetError, match=r"link: expected another file to write to: this one is read\nChoose another"
    ):
        files.not_an_input(tmp_path / "link", tmp_path / "b.png", None, tmp_path / "a.png")
    assert files.not_an_input(tmp_path / "c.png", tmp_path / "b.png", None) == tmp_path / "c.png"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "/etc/passwd", "a\0b", "C:evil.txt", "C:"])
def test_names_that_leave_the_folder(name: str) -> None:
    with pytest.raises(DatasetError, match="expected a plain file name"):
        files.safe_name(name, Path("data"))


def test_plain_names() -> None:
    for name in ("P0001.v2..txt", "\u6e2f 1.png", "12:30.png"):
        assert files.safe_name(name, Path("data")) == name


def test_names_that_are_no_text() -> None:
    with pytest.raises(DatasetError, match=r"expected a file name in UTF-8 inside data, got 'P\\udcff\.png'"):
        files.safe_name(b"P\xff.png".decode("utf-8", "surrogateescape"), Path("data"))


def test_text_that_no_file_can_hold(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.txt: expected text that UTF-8 can hold, got half of a surrogate pair"):
        files.write_text(tmp_path / "a.txt", "\ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "a." + "b" * 253, "\u6e2f" * 83 + ".json", "." + "a" * 254])
def test_the_longest_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with files.replacing(path) as temporary:
        assert files.visible(tmp_path) == []  # nobody takes it for a file of the dataset
        assert temporary.suffix in ("", path.suffix)
        temporary.write_text("whole")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("whole", [path])


def test_the_temporary_file_has_the_suffix(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"


def test_folders_that_can_be_written_to(tmp_path: Path) -> None:
    files.require_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(RboxError, match="file: expected a folder that can be written to"):
            files.require_writable(place)
