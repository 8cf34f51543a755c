"""Answers as arrays: rows selected, replaced, put together; and the ids of images."""

import numpy as np

from latentfp.attribution.estimate import Estimate, Status, answer, hashed, numbered, replace, select, stack
from latentfp.augment import damage
from latentfp.choices import Stage


def estimate_of(values):
    n = len(values)
    logits = np.broadcast_to(np.asarray(values, np.float32)[:, None], (n, 4))
    content = np.zeros((n, 3), np.float32)
    return Estimate(logits > 0, logits, content, np.ones(n, np.float32), np.full(n, int(Status.OK)), logits)


class TestAnswers:
    def test_costs_may_be_given_for_all(self):
        found = answer(estimate_of(np.arange(3)), Stage.MULTISTART, passes=7)
        np.testing.assert_array_equal(found.passes, [7, 7, 7])
        np.testing.assert_array_equal(found.iterations, [0, 0, 0])
        np.testing.assert_array_equal(found.stage, [Stage.MULTISTART] * 3)
        np.testing.assert_array_equal(found.distortion, np.zeros((3, damage.SIZE)))

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


def test_an_id_is_the_beginning_of_a_hash():
    hashes = ["00000001" + "ffffffff" + 48 * "a", 16 * "0" + 48 * "a", "ffffffff" + "00000001" + 48 * "b"]
    np.testing.assert_array_equal(hashed(hashes), [[0, 2**31 - 1], [0, 0], [2**31 - 1, 0]])
    assert hashed([]).shape == (0, 2)
    np.testing.assert_array_equal(numbered(3, 2), [[3], [4]])
