"""Which files a command's arguments name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rbox_formats.errors import DatasetError
from rbox_formats.images import by_id, find_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "b.TIF", "c.txt.png", "deep/d.jpg", "deep/deeper/e.png", "[x]/f.png", "notes.md"):
        path = tmp_path / "scenes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if name.endswith("md") else Image.new("RGB", (4, 4)).save(path)
    (tmp_path / "scenes" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "scenes"


@pytest.mark.parametrize(
    "source, names",
    [
        ("scenes/a.png", ["a.png"]),
        ("scenes", ["a.png", "b.TIF", "c.txt.png"]),
        ("scenes/*", ["a.png", "b.TIF", "c.txt.png"]),
        ("scenes/?.png", ["a.png"]),
        ("scenes/**/*.png", ["[x]/f.png", "a.png", "c.txt.png", "deep/deeper/e.png"]),
        ("scenes/deep/**", ["deep/d.jpg", "deep/deeper/e.png"]),
        ("scenes/[x]/f.png", ["[x]/f.png"]),  # a file of that name goes before the pattern
        ("scenes/[x]", ["[x]/f.png"]),
        ("scenes/[ab].*", ["a.png", "b.TIF"]),
    ],
)
def test_files_folders_and_patterns(source: str, names: list[str], folder: Path) -> None:
    for each in (source, str(folder.parent / source)):
        assert [path.resolve() for path in find_images(each)] == [(folder / name).resolve() for name in names]
    assert find_images(Path(source)) == find_images([source])


def test_the_order_is_the_arguments_and_each_file_comes_once(folder: Path) -> None:
    found = find_images(["scenes/deep/d.jpg", folder, "scenes/deep/../a.png", "scenes/**/d.jpg"])
    assert [path.name for path in found] == ["d.jpg", "a.png", "b.TIF", "c.txt.png"]


@pytest.mark.parametrize("given", ["scenes/list.txt", "@scenes/list.txt", "@scenes/plain"])
def test_lists_are_relative_to_their_own_folder(given: str, folder: Path) -> None:
    text = f"\ufeff# of the day\n\ndeep/d.jpg\n  a.png \n{folder / 'b.TIF'}\na.png\n"
    (folder / given.rpartition("/")[2]).write_text(text, encoding="utf-8")
    assert [path.name for path in find_images(given)] == ["d.jpg", "a.png", "b.TIF"]


@pytest.mark.parametrize(
    "source, found",
    [
        ("scenes/empty", "empty: expected images .* found none"),
        ("scenes/*.gif", "gif: expected images .* found none"),
        ("nowhere", "nowhere: expected images .* found none"),
        ("@nowhere", "nowhere: expected a list of images, found no file"),
        ("wrong.txt", r"wrong.txt:2: expected an image, found no file 'b.png'\nPaths are relative to"),
        ("binary.txt", "binary.txt: expected a list of images in UTF-8"),
        ("void.txt", "void.txt: expected images"),
    ],
)
def test_what_names_no_image(source: str, found: str, folder: Path) -> None:
    Path("wrong.txt").write_text("scenes/a.png\nb.png\n")
    Path("binary.txt").write_bytes(b"\xff\xfe\xff")
    Path("void.txt").write_text("# none\n")
    with pytest.raises(DatasetError, match=found):
        find_images([source])


def test_ids_are_names_without_suffix(folder: Path) -> None:
    assert by_id(["scenes/a.png", folder / "a.png", "scenes/b.TIF"]) == {
        "a": Path("scenes/a.png"),
        "b": Path("scenes/b.TIF"),
    }
    with pytest.raises(DatasetError, match=r"expected images of different names, got x/a\.png and y/a\.tif\nAn image"):
        by_id(["x/a.png", "y/a.tif"])
