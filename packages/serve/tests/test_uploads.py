"""Which files a request may name, and what becomes of the names of uploads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rbox_serve._uploads import _safe, resolve
from rbox_serve.errors import ForbiddenError, NotFoundError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two that are allowed, beside one that is not."""
    for name in ("a/deep/x.png", "b/y.png", "secret/z.png", "a-2/w.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "a" / "z.png").symlink_to(tmp_path / "secret" / "z.png")
    (tmp_path / "a" / "in.png").symlink_to(tmp_path / "a" / "deep" / "x.png")
    (tmp_path / "a" / "circle").symlink_to(tmp_path / "a" / "circle")
    os.mkfifo(tmp_path / "a" / "pipe")
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize(
    "name, found", [("deep/x.png", "a/deep/x.png"), ("y.png", "b/y.png"), ("in.png", "a/deep/x.png")]
)
def test_files_below_the_folders_are_found(folders: tuple[Path, Path], name: str, found: str, tmp_path: Path) -> None:
    assert resolve(name, folders) == tmp_path / found


@pytest.mark.parametrize(
    "name",
    [
        *("../secret/z.png", "deep/../../secret/z.png", "..\\secret\\z.png", "/etc/passwd", "", "a\0b", "x" * 5000),
        *("C:\\secret.png", "c:secret.png", "\\\\host\\share\\x.png", "//host/share/x.png", ".."),
    ],
)
def test_paths_that_leave_a_folder_are_forbidden(folders: tuple[Path, Path], name: str) -> None:
    with pytest.raises(ForbiddenError, match="below a folder that the server may read"):
        resolve(name, folders)


@pytest.mark.parametrize(
    "name", ["out/z.png", "z.png", "circle", "pipe", "deep", "nowhere.png", ".", "x" * 900, "file:deep/x.png"]
)
def test_links_that_leave_a_folder_and_what_is_no_file_are_not_there(folders: tuple[Path, Path], name: str) -> None:
    with pytest.raises(NotFoundError, match="found no"):
        resolve(name, folders)


def test_an_address_on_the_network_is_no_file(folders: tuple[Path, Path]) -> None:
    for name in ("http://127.0.0.1:1/x.png", "https://example.org/x.png", "/vsicurl/http://example.org/x.tif"):
        with pytest.raises((NotFoundError, ForbiddenError)):
            resolve(name, folders)


def test_nothing_is_read_where_no_folder_is_allowed() -> None:
    with pytest.raises(ForbiddenError, match=r"(?s)reads no files.*--images"):
        resolve("x.png", [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "/", "\\", "a", "out", "z.png", "deep", "secret", "\0", "~", "%2e"]), max_size=7
    )
)
def test_no_name_leads_out(folders: tuple[Path, Path], parts: list[str]) -> None:
    for name in ("".join(parts), "/".join(parts)):
        try:
            path = resolve(name, folders)
        except (ForbiddenError, NotFoundError):
            continue
        assert path in {folders[0] / "deep" / "x.png", folders[1] / "y.png"}


@pytest.mark.parametrize(
    "name, safe",
    [
        ("P0706.png", "P0706.png"),
        ("C:\\scenes\\Hafen Süd.tif", "Hafen_Süd.tif"),
        ("../../etc/passwd", "passwd"),
        ("", "image"),
        (".png", "png"),
        ("..", "image"),
        ("a" * 300 + ".tiff", "a" * 80 + ".tiff"),
        ("x\n\0y.png", "x_y.png"),
    ],
)
def test_names_of_uploads_are_made_harmless(name: str, safe: str) -> None:
    assert _safe(name) == safe
