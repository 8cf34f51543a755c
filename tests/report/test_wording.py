"""Numbers in words."""

import pytest

from latentfp.report.html import power_of_ten
from latentfp.report.markdown import duration


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
    assert power_of_ten(value) == text


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
    assert duration(seconds) == text
