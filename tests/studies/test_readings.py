"""Readings of every stage, kept in parts."""

import numpy as np
import pytest

from latentfp.choices import Method, Stage
from latentfp.studies import readings
from latentfp.studies.readings import Readings, kept, read
from latentfp.studies.scene import open_scene

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def scene(deployment):
    return open_scene(deployment, seed=0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(256, size=(4, 16, 16, 3)).astype(np.uint8)


def test_images_climb_until_an_answer_suffices(scene, images):
    """The second and fourth suffice after the encoder, the first after the decoder."""
    asked = []

    def decided(answer):
        asked.append(len(answer.stage))
        order = {Stage.ENCODER: [False, True, False, True], Stage.DECODER: [True, False]}
        return np.array(order.get(Stage(int(answer.stage[0])), [False]))

    found = read(scene, Method.AUTO, images, label="test", decided=decided)
    assert asked == [4, 2, 1, 1]
    assert found.last.tolist() == [1, 0, 3, 0]
    assert found.soft.shape == (4, 4, 32)
    assert np.isnan(found.misfits).sum(axis=1).tolist() == [2, 3, 0, 3]
    assert not found.soft[np.isnan(found.misfits)].any()
    np.testing.assert_array_equal(found.final, found.soft[np.arange(4), [1, 0, 3, 0]])
    alone = read(scene, Method.ENCODER, images, label="test", decided=decided)
    np.testing.assert_array_equal(alone.soft[:, 0], found.soft[:, 0])


def test_stages_that_nobody_climbs_are_there(scene, images):
    def enough(answer):
        return np.ones(len(answer.stage), bool)

    found = read(scene, Method.AUTO, images, label="test", decided=enough)
    assert found.soft.shape == (4, 4, 32)
    assert found.last.tolist() == [0] * 4


def numbered(first, n):
    soft = np.arange(first, first + n, dtype=np.int8).reshape(n, 1, 1) + np.int8(1)
    return Readings(soft, *np.full((2, n, 1), first, np.float32))


def test_parts_are_made_once_and_shortened_or_made_again(monkeypatch, tmp_path):
    monkeypatch.setattr(readings, "PART", 3)
    made = []

    def make(first, n):
        made.append((first, n))
        return numbered(first, n)

    found = kept(tmp_path, "kind", 7, make)
    assert made == [(0, 3), (3, 3), (6, 1)]
    np.testing.assert_array_equal(found.soft.ravel(), np.arange(1, 8))
    np.testing.assert_array_equal(kept(tmp_path, "kind", 5, make).soft.ravel(), np.arange(1, 6))
    assert len(made) == 3
    np.testing.assert_array_equal(kept(tmp_path, "kind", 8, make).soft.ravel(), np.arange(1, 9))
    assert made[3:] == [(6, 2)]


def test_a_folder_belongs_to_one_setting(tmp_path):
    readings.claim(tmp_path / "readings", {"seed": 0, "method": "auto"})
    readings.claim(tmp_path / "readings", {"method": "auto", "seed": 0})
    with pytest.raises(ValueError, match="another setting"):
        readings.claim(tmp_path / "readings", {"seed": 1, "method": "auto"})
