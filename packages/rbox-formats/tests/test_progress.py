"""Progress bars, one inside another too."""

from __future__ import annotations

import pytest
from rbox_formats.progress import progress_bar, showing, track


def test_a_bar_inside_another_stands_below_it_and_goes_when_it_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with showing(), progress_bar("outer", 3) as advance:
        advance(1, "first")
        assert list(track([1, 2], "inner")) == [1, 2]
        with pytest.raises(KeyError), progress_bar("broken", 1):
            raise KeyError("x")
        advance(2, "last")
    shown = capsys.readouterr().err
    (line,) = shown.strip().splitlines()  # what is left at the end
    assert line.startswith("outer")
    assert "3/3" in line
    assert line.endswith("last")


def test_a_new_bar_follows_one_that_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with showing():
        half = track([1, 2], "abandoned")
        next(half)
        half.close()
        assert list(track([1, 2], "another")) == [1, 2]
    assert "another" in capsys.readouterr().err


def test_bars_end_with_the_block_that_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """An error's traceback may hold a loop that is not closed: a later command still shows its own bars."""
    with showing():
        held = track([1, 2], "held")
        next(held)
    assert "held" in capsys.readouterr().err
    with showing():
        assert list(track([1, 2], "later")) == [1, 2]
        held.close()
    shown = capsys.readouterr().err
    assert "later" in shown
    assert "held" not in shown


def test_nothing_is_drawn_unless_someone_asks(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(False):
        assert list(track([1, 2], "silent")) == [1, 2]
    with showing(), showing(False):  # who asked farther out still sees the bar
        assert list(track([1, 2], "seen")) == [1, 2]
    assert list(track([1, 2], "silent again")) == [1, 2]
    shown = capsys.readouterr().err
    assert "seen" in shown
    assert "silent" not in shown
