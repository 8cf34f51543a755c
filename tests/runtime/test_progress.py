"""What progress writes, and where."""

import itertools

import pytest

from latentfp.runtime import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by 20 s whenever it is read."""
    monkeypatch.setattr(progress.time, "monotonic", itertools.count(0.0, 20.0).__next__)


def test_track_yields_every_item_once():
    assert list(progress.track(range(5), "counting")) == list(range(5))
    assert list(progress.track(iter("ab"), "no length")) == ["a", "b"]


def test_quick_work_is_silent(capsys):
    list(progress.track(range(1000), "counting"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("clock")
def test_a_log_gets_a_line_every_half_minute_with_the_time_left(capsys):
    """Items end at 20, 40, 60, 80 s: lines after the second (40 s ≥ 30 s) and the fourth; 20 s an item."""
    assert list(progress.track("abcd", "drawing")) == list("abcd")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "drawing: 2 of 4, 40 s left\ndrawing: 4 of 4, 0 s left\n"


@pytest.mark.usefixtures("clock")
def test_unknown_total(capsys):
    with progress.progress("searching", None) as advance:
        advance(3)
        advance(4)
    assert capsys.readouterr().err == "searching: 7\n"


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("COLUMNS", "100")
    with progress.progress("drawing", 8) as advance:
        advance(8)
    out, err = capsys.readouterr()
    assert out == ""
    assert "drawing" in err
    assert "8/8" in err


def test_an_error_inside_comes_out():
    def failing():
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(progress.track(failing(), "reading"))
