"""What killed processes leave: removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rbox_formats import files
from rbox_formats.files import _temporaries

FILE = "files.replacing(sys.argv[1])"
FOLDER = "files.temporary_folder(os.path.dirname(sys.argv[1]))"


def begin(what: str, out: Path) -> subprocess.Popen:
    """A process in the middle of it."""
    code = f"""
import os, sys
from pathlib import Path
from rbox_formats import files
with {what} as temporary:
    if temporary.is_dir():
        (temporary / "deep").mkdir()
        (temporary / "deep" / "half").write_text("half")
    else:
        temporary.write_text("half")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""
    words = [sys.executable, "-c", code, str(out)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("what", [FILE, FOLDER])
def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path, what: str) -> None:
    killed, living = begin(what, tmp_path / "a.png"), begin(what, tmp_path / "a.png")
    try:
        assert killed.stdout is not None
        assert living.stdout is not None
        names = [process.stdout.readline().strip() for process in (killed, living)]  # type: ignore[union-attr]
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
        _temporaries.sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == names[1:]
    finally:
        for process in (killed, living):
            process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == (["a.png"] if what == FILE else [])


def test_writing_again_sweeps_the_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".rbox-tmp-abcdefgh.txt").write_text("half")  # nobody holds it
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or scandir(folder))
    for number in range(3):
        files.write_text(tmp_path / f"{number}.txt", "text")
    assert looked == [tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.txt", "1.txt", "2.txt"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "owner").write_text("precious")
    place = tmp_path / "place"
    place.mkdir()
    (place / ".rbox-tmp-abcdefgh").symlink_to(precious)
    (place / ".rbox-tmp-abcdefgi.png").symlink_to(precious / "owner")
    os.mkfifo(place / ".rbox-tmp-abcdefgj")
    for name in (".rbox-tmp-abc", ".rbox-tmp-ABCDEFGH", ".rbox-tmp-abcdefghi", "x.rbox-tmp-abcdefgh", ".out.abcdefgh"):
        (place / name).write_text("precious")
    (place / ".rbox-tmp-abcdefgk").mkdir()
    (place / ".rbox-tmp-abcdefgk" / "file").write_text("precious")  # no folder of ours has files and no owner
    before = sorted(tmp_path.rglob("*"))
    _temporaries.sweep(place)
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_that_were_killed_early_or_late(tmp_path: Path) -> None:
    """Before they had an owner, and when all but the owner was removed."""
    (tmp_path / ".rbox-tmp-abcdefgh").mkdir()
    (tmp_path / ".rbox-tmp-abcdefgi").mkdir()
    (tmp_path / ".rbox-tmp-abcdefgi" / "owner").write_text("")
    _temporaries.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("maker", ["mkstemp", "mkdtemp"])
def test_a_sweep_before_there_is_a_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str) -> None:
    made, make = [], getattr(tempfile, maker)

    def swept(**options: object) -> object:
        made.append(make(**options))
        if len(made) == 1:
            _temporaries.sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr(tempfile, maker, swept)
    if maker == "mkstemp":
        files.write_text(tmp_path / "a.txt", "text")
        assert (tmp_path / "a.txt").read_text() == "text"
    else:
        with files.temporary_folder(tmp_path) as folder:
            assert folder.is_dir()
            _temporaries.sweep(tmp_path)
            assert folder.is_dir()
    assert len(made) == 2


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(*_arguments: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), files.replacing(tmp_path / "a") as temporary:
        fail(temporary.write_text("half"))
    with pytest.raises(ValueError, match="no"), files.temporary_folder(tmp_path) as folder:
        fail((folder / "deep").mkdir())
    assert list(tmp_path.iterdir()) == []
