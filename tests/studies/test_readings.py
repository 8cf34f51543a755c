"""Readings of every stage, kept in parts."""

import numpy as np
import pytest

from latentfp.choices import Method, Stage
from latentfp.studies import readings
from latentfp.studies.context import open_context
from latentfp.studies.experiment import Experiment
from latentfp.studies.readings import Readings, read


@pytest.fixture(scope="module")
def context(deployment):
    return open_context(deployment, seed=0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(256, size=(4, 16, 16, 3)).astype(np.uint8)


def test_images_climb_until_an_answer_suffices(context, images):
    """The second and fourth suffice after the encoder, the first after the decoder."""
    asked = []

    def decided(answer):
        asked.append(len(answer.stage))
        order = {Stage.ENCODER: [False, True, False, True], Stage.DECODER: [True, False]}
        return np.array(order.get(Stage(int(answer.stage[0])), [False]))

    found = read(context, Method.AUTO, images, label="test", decided=decided)
    assert asked == [4, 2, 1, 1]
    assert found.last.tolist() == [1, 0, 3, 0]
    assert found.soft.shape == (4, 4, 32)
    assert np.isnan(found.residuals).sum(axis=1).tolist() == [2, 3, 0, 3]
    assert not found.soft[np.isnan(found.residuals)].any()
    np.testing.assert_array_equal(found.final, found.soft[np.arange(4), [1, 0, 3, 0]])
    alone = read(context, Method.ENCODER, images, label="test", decided=decided)
    np.testing.assert_array_equal(alone.soft[:, 0], found.soft[:, 0])


def test_stages_that_nobody_climbs_are_there(context, images):
    def enough(answer):
        return np.ones(len(answer.stage), bool)

    found = read(context, Method.AUTO, images, label="test", decided=enough)
    assert found.soft.shape == (4, 4, 32)
    assert found.last.tolist() == [0] * 4


def numbered(first, n):
    soft = np.arange(first, first + n, dtype=np.int8).reshape(n, 1, 1) + np.int8(1)
    return Readings(soft, *np.full((5, n, 1), first, np.float32))


def test_parts_are_made_once(monkeypatch, tmp_path):
    monkeypatch.setattr(readings, "PART", 3)
    asked = []

    def make(kind, first, n):
        asked.append((kind, first, n))
        return numbered(first, n)

    def read_all(images, **belongs):
        return readings.measured(Experiment(tmp_path, seed=0), images, make, belongs=belongs)

    found = read_all({"kind": 7, "other": 1})
    assert asked == [("kind", 0, 3), ("kind", 3, 3), ("kind", 6, 1), ("other", 0, 1)]
    np.testing.assert_array_equal(found["kind"].soft.ravel(), np.arange(1, 8))
    again = read_all({"kind": 6})
    np.testing.assert_array_equal(again["kind"].soft.ravel(), np.arange(1, 7))
    assert len(asked) == 4
    np.testing.assert_array_equal(read_all({"kind": 8})["kind"].soft.ravel(), np.arange(1, 9))
    assert asked[4:] == [("kind", 6, 2)]
    read_all({"other": 1}, seed=1)
    assert asked[5:] == [("other", 0, 1)], "readings of another setting are not these"
    assert len(list((tmp_path / "readings").iterdir())) == 6
