"""Sentences and numbers of the page."""

import pytest

from latentfp.report import wording
from latentfp.report.record import read_report


@pytest.fixture
def report(demo, content):
    return read_report(demo(content))


def only(report, *indices):
    return report._replace(files=[report.files[i] for i in indices])


def test_headline(report):
    space = "\N{NO-BREAK SPACE}"
    accused = f"2 of 2 clean files named their user; 1{space}of 2 unmarked files accused a user."
    assert wording.headline(report) == accused
    cleared = f"1 of 1 clean file named its user; 0{space}of 1 unmarked file accused anyone."
    assert wording.headline(only(report, 0, 5)) == cleared
    assert wording.headline(only(report, 0, 1)) == "1 of 1 clean file named its user."


def test_aftermath(report):
    # one blurred file named nobody, one a wrong user, and one was not readable
    expected = (
        "After the attacks 0 of 3 files still named the right user, 1 named a wrong one, and 2 named nobody."
    )
    assert wording.aftermath(report) == expected
    assert wording.aftermath(only(report, 0)) == ""


def test_cost(report):
    parts = "fit 1.0 s, generate 2.0 s, attack 0.5 s, attribute 2 min 5 s"
    assert wording.cost(report) == f"2 min 8 s in all: {parts} (18 s a file), on 2 cores."
    assert "a file" not in wording.cost(only(report))


def test_settings_are_escaped(report):
    hostile = report._replace(settings=report.settings._replace(generator="<b>", coding="<i>", stages="<u>"))
    shown = "".join(value for _, value in wording.settings(hostile))
    assert not {"<b>", "<i>", "<u>"} & set(shown.split())
    assert "&lt;b&gt;" in shown


def test_match(report):
    assert wording.match(report.files[0]) == "16/16 bits, p = 3 × 10<sup>−5</sup>"
    assert wording.match(report.files[2]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.64, "0.64"),
        (0.012, "0.012"),
        (0.0099, "9.9 × 10<sup>−3</sup>"),
        (5.0, "5"),
        (1e-6, "10<sup>−6</sup>"),
        (3.21e-19, "3.2 × 10<sup>−19</sup>"),
        (9.96e-5, "10<sup>−4</sup>"),
        (123.4, "123"),
        (2.5e6, "2.5 × 10<sup>6</sup>"),
        (1e-320, "10<sup>−320</sup>"),
    ],
)
def test_power_of_ten(value, text):
    assert wording.power_of_ten(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (45.4, "45 s"),
        (120.0, "2 min 0 s"),
        (3599.0, "59 min 59 s"),
        (7260.0, "2 h 1 min"),
    ],
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text
