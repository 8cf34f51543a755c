"""The test whether an image is one of the generator's: ranks among its own images."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.membership import Null, explained, limits, misfits
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.refine import SOLVED
from latentfp.attribution.verdict import CLEARED
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Stage

MISSES = np.array([1e-9, 0.3])
NULL = Null(np.array([1.0, 2.0, 2.0, 3.0]), MISSES, Stage.MULTISTART)


def found(losses, harm=Damage(), stage=Stage.MULTISTART, status=Status.OK):  # noqa: B008
    n = len(losses)
    estimate = Estimate(
        code=jnp.zeros((n, 4), bool),
        logits=jnp.zeros((n, 4)),
        content=jnp.zeros((n, 2)),
        loss=jnp.asarray(losses, jnp.float32),
        status=jnp.full(n, int(status)),
        levels=jnp.zeros((n, 4)),
    )
    return answer(estimate, stage, passes=0, distortion=np.tile(damage.coordinates(harm), (n, 1)))


def test_the_p_value_is_the_rank_from_above():
    p = NULL.p_values(found([0.5, 1.0, 1.5, 2.0, 2.5, 9.0, np.nan, np.inf]))
    np.testing.assert_allclose(p, np.array([5, 5, 4, 4, 2, 1, 1, 1]) / 5)


def test_images_of_the_null_have_even_ranks():
    """Of fresh draws no more than a share t has a p-value of at most t, up to five standard errors."""
    random = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        null = Null(np.sort(random.exponential(size=199)), MISSES, Stage.MULTISTART)
        rates.append((null.p_values(found(random.exponential(size=50))) <= 0.05).mean())
    error = np.std(rates) / len(rates) ** 0.5
    assert abs(np.mean(rates) - 0.05) < 5 * error
    assert error < 0.005


@pytest.mark.parametrize("stage", [Stage.DECODER, Stage.REFINE])
def test_images_that_stopped_earlier_are_not_tested(stage):
    assert np.isnan(NULL.p_values(found([9.0], stage=stage))).all()


def test_explained_images_are_tested_at_any_descent():
    solved = found([SOLVED - 0.01], stage=Stage.REFINE)
    assert explained(solved).all()
    null = Null(np.array([0.1, SOLVED]), MISSES, Stage.MULTISTART)
    np.testing.assert_allclose(null.p_values(solved), [2 / 3])


def test_noise_is_expected_where_it_was_inferred():
    """A residual of rounding alone is measured in rounding, one of noise in noise."""
    noise = 0.1
    scale = (1 + (noise / ROUNDING) ** 2) ** 0.5
    np.testing.assert_allclose(misfits(found([3 * scale], Damage(noise=noise))), 3, rtol=1e-3)
    np.testing.assert_allclose(misfits(found([3.0])), 3)


def test_damaged_images_know_their_noise_already():
    np.testing.assert_allclose(misfits(found([3.0], Damage(noise=0.1, blur=1.0))), 3)
    np.testing.assert_allclose(misfits(found([3.0], Damage(noise=0.1, quality=50.0))), 3)


@pytest.mark.parametrize(
    ("levels", "clear"),
    [
        ([1] * 16, True),  # another user's
        ([0.1] * 16, True),  # nobody's
        ([1, -1] * 4 + [0.1] * 8, False),  # two users' average
        ([1] * 15 + [0.2], True),
        ([0.1] * 14 + [1] * 2, True),
    ],
)
def test_what_lies_between_two_codes_clears_nobody(levels, clear):
    solved = found([SOLVED - 0.01], stage=Stage.REFINE)
    changed = solved._replace(estimate=solved.estimate._replace(levels=np.array([levels])))
    assert limits(changed).tolist() == [CLEARED * clear]
    bad = changed._replace(estimate=changed.estimate._replace(loss=np.array([5.0])))
    assert limits(bad).tolist() == [0]


def test_of_bad_fits_the_null_knows_what_is_unlike_it():
    """The limit is passed by no more than one in a thousand of the deployment's own images."""
    misses = np.sort(np.random.default_rng(0).random(2500))
    null = Null(np.ones(2500), misses, Stage.MULTISTART)
    assert null.limit == misses[1]  # the second of 2501: a third would make 3 / 2501 > 0.001
    assert NULL.limit == 0
    bad = found([5.0])
    levels = np.full((1, 16), 0.1)
    bad = bad._replace(estimate=bad.estimate._replace(levels=levels))
    assert limits(bad, null).tolist() == [null.limit]
    early = bad._replace(stage=np.array([int(Stage.REFINE)]))
    assert limits(early, null).tolist() == [0]


def test_images_of_the_null_are_cleared_as_rarely_as_promised():
    random = np.random.default_rng(0)
    cleared = []
    for _ in range(300):
        null = Null(np.ones(999), np.sort(random.beta(0.2, 1, 999)), Stage.MULTISTART)
        cleared.append((random.beta(0.2, 1, 1000) < null.limit).mean())
    error = np.std(cleared) / len(cleared) ** 0.5
    assert abs(np.mean(cleared) - CLEARED) < 5 * error
    assert error < 2e-4
