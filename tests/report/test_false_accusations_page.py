"""Rates of false accusations as tables and a plot."""

import numpy as np
import pytest

from latentfp.report.false_accusations import write_false_accusations
from latentfp.studies.experiment import plain
from latentfp.studies.false_accusations import Settings, rates_of
from latentfp.studies.readings import Readings

USERS, ALPHAS = (1, 1000), (0.1, 1e-3)


@pytest.fixture(scope="module")
def result():
    soft = np.random.default_rng(0).integers(-24, 25, (400, 1, 64)).astype(np.int8)
    readings = {"flat": Readings(soft, *np.ones((5, 400, 1), np.float32))}
    settings = Settings("none", {"flat": 400}, USERS, (4, 2), ALPHAS, "decoder")
    made = {"hardware": "2 cores", "code": ["0.2.0+1"]}
    return plain({**made, **settings._asdict(), **rates_of(readings, settings, seed=0)})


def test_the_page_says_which_promises_are_broken(result, tmp_path):
    text = write_false_accusations(tmp_path, result).read_text()
    assert "the interval lies above the promise in: none." in text
    assert "## 1 000 registered, 2 draws" in text
    row = result["rates"][0]
    broken = {
        **row,
        "promised": {**row["promised"], "0.1": {**row["promised"]["0.1"], "interval": [0.11, 0.2]}},
    }
    text = write_false_accusations(tmp_path, {**result, "rates": [broken, *result["rates"][1:]]}).read_text()
    assert "above the promise in: flat with 1 users at 0.1." in text


def test_the_plot_is_of_the_numbers_alone(result, tmp_path):
    plots = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_false_accusations(tmp_path / name, result)
        plots.append((tmp_path / name / "false_accusations.svg").read_bytes())
    assert plots[0] == plots[1]
    assert plots[0].count(b'<g id="axes_') == len(USERS)
