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


@pytest.mark.usefixtures("clock")
def test_no_time_left_is_promised_of_steps_that_are_not_alike(capsys):
    with progress.progress("cells", 4, even=False) as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().err == "cells: 2 of 4\n"


def test_a_bar_within_another_stands_below_it_and_goes(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.progress("cells", 2, even=False) as advance:
        for _ in range(2):
            assert list(progress.track(range(3), "images")) == [0, 1, 2]
            advance(1)
        assert len(progress._bars) == 1
        assert [task.description for task in progress._bars[0].tasks] == ["cells"]
    assert progress._bars == []
    err = capsys.readouterr().err
    assert "cells" in err
    assert "2/2" in err
