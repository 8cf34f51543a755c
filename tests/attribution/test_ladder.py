"""The ladder with rungs that answer by a rule: who climbs, what it costs, what is heard."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.estimate import Estimate, Status, answer, replace, select, stack
from latentfp.attribution.ladder import Rung, climb, confident
from latentfp.augment import damage
from latentfp.choices import Stage

BITS, CONTENT = 4, 3
WORKS = (1, 5, 20)
NEEDS = np.array([0, 2, 1, 0, 2, 1])  # the rung that decides image i


def images_of(needs):
    """Images that hold the rung that decides them."""
    return np.broadcast_to(needs[:, None, None, None], (len(needs), 2, 2, 3)).astype(np.float32)


def estimate_of(values):
    n = len(values)
    logits = jnp.broadcast_to(jnp.asarray(values, jnp.float32)[:, None], (n, BITS))
    content = jnp.zeros((n, CONTENT))
    return Estimate(logits > 0, logits, content, jnp.ones(n), jnp.full(n, int(Status.OK)), logits)


class Ladder:
    """Three rungs that remember what they were given; a logit is 10 · level + number."""

    def __init__(self):
        self.seen, self.below, self.heard = [], [], []
        self.rungs = [self.rung(level, stage) for level, stage in enumerate(list(Stage)[:3])]

    def rung(self, level, stage):
        def run(images, numbers, below, progress):
            self.seen.append((level, numbers.tolist()))
            self.below.append(below)
            assert np.isfinite(images).all()
            progress(WORKS[level] * len(images))
            costs = {"passes": 10**level * jnp.ones(len(images), int), "looks": 3 * (level == 0)}
            harm = jnp.full((len(images), damage.SIZE), float(level))
            return answer(estimate_of(10 * level + numbers), stage, damage=harm, **costs)

        return Rung(stage, WORKS[level], run)

    def climb(self, images, *, decided=None):
        def by_need(found):
            number = np.asarray(found.estimate.logits)[:, 0] % 10
            return np.asarray(found.stage) >= NEEDS[number.astype(int)]

        numbers = np.arange(100, 100 + len(images))
        return climb(self.rungs, images, numbers, decided=decided or by_need, progress=self.heard.append)


def test_an_image_climbs_as_far_as_it_needs():
    ladder = Ladder()
    found = ladder.climb(images_of(NEEDS))
    np.testing.assert_array_equal(found.stage, NEEDS)
    numbers = np.arange(100, 106)
    expected = [(0, numbers.tolist()), (1, numbers[NEEDS > 0].tolist()), (2, numbers[NEEDS > 1].tolist())]
    assert ladder.seen == expected
    np.testing.assert_array_equal(found.estimate.logits[:, 0], 10 * NEEDS + numbers)
    np.testing.assert_array_equal(found.damage[:, 0], NEEDS)


def test_costs_add_up():
    found = Ladder().climb(images_of(NEEDS))
    np.testing.assert_array_equal(found.passes, np.array([1, 11, 111])[NEEDS])
    np.testing.assert_array_equal(found.looks, 3)


def test_a_rung_gets_the_answers_below_of_its_own_images():
    ladder = Ladder()
    ladder.climb(images_of(NEEDS))
    assert ladder.below[0] is None
    for level, below in enumerate(ladder.below[1:], 1):
        np.testing.assert_array_equal(below.stage, level - 1)
        numbers = np.arange(100, 106)[level <= NEEDS]
        np.testing.assert_array_equal(below.estimate.logits[:, 0], 10 * (level - 1) + numbers)


@pytest.mark.parametrize("decided", [True, False, None], ids=["at once", "never", "some"])
@pytest.mark.parametrize("broken", [0, 2, 6])
def test_progress_is_all_the_work_on_every_path(decided, broken):
    images = images_of(NEEDS)
    images[:broken, 0, 0, 0] = np.nan
    ladder = Ladder()
    rule = None if decided is None else lambda found: np.full(found.stage.shape, decided)
    ladder.climb(images, decided=rule)
    assert sum(ladder.heard) == len(images) * sum(WORKS)


def test_images_of_nan_are_a_status_and_climb_no_further():
    images = images_of(NEEDS)
    images[1, 0, 0, 0], images[4, 1, 1, 2] = np.nan, np.inf  # both would climb to the end
    ladder = Ladder()
    found = ladder.climb(images)
    expected = Ladder().climb(images_of(NEEDS))
    bad, good = np.array([1, 4]), np.array([0, 2, 3, 5])
    np.testing.assert_array_equal(found.estimate.status[bad], Status.NONFINITE)
    np.testing.assert_array_equal(found.estimate.logits[bad], 0)
    assert not np.asarray(found.estimate.code[bad]).any()
    assert np.isinf(found.estimate.loss[bad]).all()
    np.testing.assert_array_equal(found.stage[bad], Stage.ENCODER)
    assert (2, []) not in ladder.seen
    for one, other in zip(select(found, good).estimate, select(expected, good).estimate, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_answers_that_decide_are_never_run_again():
    ladder = Ladder()
    ladder.climb(images_of(NEEDS), decided=lambda found: np.ones(found.stage.shape, bool))
    assert [level for level, _ in ladder.seen] == [0]


def test_a_ladder_has_a_rung():
    with pytest.raises(ValueError, match="no stages"):
        climb([], images_of(NEEDS), np.arange(6), decided=confident(0.1), progress=lambda _: None)


def test_confidence_is_that_all_bits_are_right():
    """Bit i is right with probability sigmoid |logit|: their product against the tolerance, in float64."""
    logits = np.array([[9.0, -9, 9, -9], [3, 3, 3, -3], [9, 9, 9, 0.1], [0, 0, 0, 0]])
    found = answer(estimate_of(np.zeros(4))._replace(logits=jnp.asarray(logits)), Stage.DECODER, passes=0)
    right = np.prod(1 / (1 + np.exp(-np.abs(logits))), axis=1)
    for tolerance in (1e-4, 1e-3, 0.17, 0.18, 0.6, 0.99):
        np.testing.assert_array_equal(confident(tolerance)(found), right >= 1 - tolerance)


class TestAnswers:
    def test_costs_may_be_given_for_all(self):
        found = answer(estimate_of(np.arange(3)), Stage.MULTISTART, passes=7)
        np.testing.assert_array_equal(found.passes, [7, 7, 7])
        np.testing.assert_array_equal(found.looks, [0, 0, 0])
        np.testing.assert_array_equal(found.stage, [Stage.MULTISTART] * 3)
        np.testing.assert_array_equal(found.damage, np.zeros((3, damage.SIZE)))

    def test_rows_are_replaced_and_no_others(self):
        found = answer(estimate_of(np.arange(5)), Stage.DECODER, passes=1)
        better = answer(estimate_of(np.array([70, 80])), Stage.REFINE, passes=2)
        mixed = replace(found, np.array([3, 1]), better)
        np.testing.assert_array_equal(mixed.estimate.logits[:, 0], [0, 80, 2, 70, 4])
        old, new = Stage.DECODER, Stage.REFINE
        np.testing.assert_array_equal(mixed.stage, [old, new, old, new, old])
        np.testing.assert_array_equal(mixed.passes, [1, 2, 1, 2, 1])
        np.testing.assert_array_equal(select(mixed, np.array([3, 1])).estimate.logits, better.estimate.logits)

    def test_stacked_answers_are_those_of_both(self):
        parts = [
            answer(estimate_of(np.array(v)), stage, passes=1)
            for v, stage in (([1, 2], Stage.DECODER), ([3], Stage.REFINE))
        ]
        found = stack(parts)
        np.testing.assert_array_equal(found.estimate.logits[:, 0], [1, 2, 3])
        np.testing.assert_array_equal(found.stage, [Stage.DECODER, Stage.DECODER, Stage.REFINE])
