import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_search import BITS, BRIEF, DIM, LONG, SIGMA, assert_same, energy, images_of

from latentfp.attribution import reference
from latentfp.attribution.estimate import Status, numbered
from latentfp.attribution.reference import STYLEGAN2, Point, Problem, Settings, draw_starts, hypercube, result
from latentfp.choices import Coding
from latentfp.generators import linear
from latentfp.generators.latent_diffusion import model as latent_diffusion


@pytest.mark.parametrize(("points", "dimensions"), [(20, 448), (1, 3), (7, 1)])
def test_a_hypercube_meets_every_cell_once(key, points, dimensions):
    u = np.asarray(hypercube(key, points=points, dimensions=dimensions), np.float64)
    cells = (np.arange(points) + 0.5) / points
    np.testing.assert_allclose(np.sort(u, axis=0), np.repeat(cells[:, None], dimensions, axis=1), rtol=1e-6)


def test_the_dimensions_of_a_hypercube_are_shuffled_apart(key):
    order = np.asarray(hypercube(key, points=20, dimensions=400)).argsort(axis=0)
    ranks = (order - 9.5) / order.std()
    correlation = (ranks.T @ ranks / 20)[np.triu_indices(400, 1)]
    # Correlations of 20 ranks have a standard deviation of 1/sqrt(19), and 79 800 of them a mean of zero.
    assert abs(correlation.mean()) < 0.01
    np.testing.assert_allclose(correlation.std(), 19**-0.5, rtol=0.05)


def test_each_kind_of_generator_has_the_published_settings():
    assert reference.usual(linear.make()) == STYLEGAN2
    found = reference.usual(linear.make()._replace(search=latent_diffusion.SEARCH))
    assert found == Settings(starts=1, steps=2000, rate=0.2, decay=0.001, penalty=0.005, start_shift=0.0)


@pytest.mark.parametrize(("start_shift", "low", "high"), [(1.0, -1, 1), (0.0, 0, 2)])
def test_starts_are_spread_over_the_published_range(key, space, start_shift, low, high):
    settings = STYLEGAN2._replace(start_shift=start_shift)
    starts = draw_starts(key, jnp.asarray(numbered(0, 3)), space, settings)
    assert starts.shape == (3, 20, DIM - BITS)
    in_stds = np.sort(np.asarray(starts / space.content_stds[None, None]), axis=1)
    expected = low + (high - low) * (np.arange(20) + 0.5) / 20
    np.testing.assert_allclose(in_stds, np.broadcast_to(expected[:, None], in_stds.shape), atol=1e-6)


def test_the_starts_of_an_image_follow_from_its_index(key, space):
    starts = draw_starts(key, jnp.asarray(numbered(0, 5)), space, BRIEF)
    np.testing.assert_array_equal(draw_starts(key, jnp.asarray(numbered(3, 1)), space, BRIEF)[0], starts[3])
    assert (starts[3] != starts[4]).any()


def adam_in_float64(gradient, x, *, steps, rate, decay):
    """Kingma and Ba 2015, algorithm 1, with the learning rate of the paper."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, steps + 1):
        g = gradient(x)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        step = (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        x = x - rate * math.exp(-decay * t) * step
    return x


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_steps_are_adams(generator, params, space, images, steps):
    settings = STYLEGAN2._replace(rate=0.05, decay=0.01)
    problem = Problem(params, space, jax.tree_util.Partial(energy), SIGMA, 0.5, 0.0)
    start = reference.init(jnp.full((1, 1, DIM - BITS), 0.1), BITS)
    state = reference.advance(generator.synthesize, problem, settings, images[:1], start, 0, steps)

    matrix, offset, target = (
        np.asarray(x, np.float64) for x in (params["matrix"], params["offset"], images[0])
    )

    def gradient(x):
        probability = 1 / (1 + np.exp(-x[DIM - BITS :]))
        w = np.concatenate([x[: DIM - BITS], SIGMA * (probability - 0.5)])
        pull = 2 * 0.5 * matrix.T @ (0.5 * matrix @ w + offset - target.ravel())
        return pull * np.concatenate([np.ones(DIM - BITS), SIGMA * probability * (1 - probability)])

    x = np.concatenate([np.full(DIM - BITS, 0.1, np.float32), np.zeros(BITS)])
    x = adam_in_float64(gradient, x, steps=steps, rate=0.05, decay=0.01)
    # A step is the rate times a number of order one, whose float32 error is 1e-6 at first; steps add up.
    np.testing.assert_allclose(state.point.alpha[0, 0], x[: DIM - BITS], atol=1e-6 * steps)
    np.testing.assert_allclose(state.point.kappa[0, 0], x[DIM - BITS :], atol=1e-6 * steps)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_segments_are_one_run(generator, params, space, images, monkeypatch, backend):
    """`gpu`: the loop that runs on accelerators, here on the CPU, where it is only slow."""
    problem = Problem(params, space, jax.tree_util.Partial(energy), SIGMA, 0.5, 0.1)
    run = partial(reference.advance, generator.synthesize, problem, BRIEF, images[:1])
    starts = jnp.zeros((1, 2, DIM - BITS))
    whole = run(reference.init(starts, BITS), 0, 20)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    parts = run(run(reference.init(starts, BITS), 0, 7), 7, 20)
    jax.tree.map(assert_same, whole, parts)


@pytest.mark.parametrize("coding", Coding)
def test_the_search_finds_code_and_content(generator, params, space, truth, search, coding):
    found = search(images_of(generator, params, space, truth, coding), coding=coding, settings=LONG)
    alpha, codes = truth
    np.testing.assert_array_equal(found.estimate.code, codes)
    assert (found.estimate.status == Status.OK).all()
    assert (found.estimate.loss < 1e-3).all()
    np.testing.assert_allclose(found.estimate.content, alpha, atol=5e-3)


def test_an_unmarked_image_leaves_the_bits_undecided(generator, params, space, truth, search):
    unmarked = images_of(generator, params, space, (truth[0], np.zeros((6, BITS), bool)), Coding.BINARY)
    logits = search(unmarked, settings=LONG).estimate.logits
    np.testing.assert_allclose(logits, 0, atol=0.05)


def test_the_best_start_is_the_one_with_the_lowest_loss(found):
    rows = np.arange(6)
    np.testing.assert_array_equal(found.best, np.argmin(found.losses, axis=1))
    np.testing.assert_array_equal(found.estimate.loss, found.losses[rows, found.best])
    np.testing.assert_array_equal(found.estimate.code, found.codes[rows, found.best])


def test_a_start_that_is_not_finite_never_wins():
    alpha = jnp.array([[[0.0], [1.0], [jnp.nan]], [[0.0], [1.0], [2.0]]])
    loss = jnp.array([[jnp.nan, 3.0, 1.0], [jnp.inf, jnp.nan, -jnp.inf]])
    ended = result(Point(alpha, jnp.ones((2, 3, 4))), loss)
    assert ended.best[0] == 1
    assert ended.estimate.status.tolist() == [Status.OK, Status.NONFINITE]


def test_one_bad_image_harms_no_other(search, images, found):
    spoilt = search(images.at[2].set(jnp.nan))
    assert spoilt.estimate.status.tolist() == [0, 0, Status.NONFINITE, 0, 0, 0]
    good = np.array([0, 1, 3, 4, 5])
    assert_same(spoilt.losses[good], found.losses[good])


@pytest.mark.parametrize(
    ("images", "starts", "pairs", "multiple", "expected"),
    [
        (100, 20, 45, 1, (2, 20)),  # whole images
        (1, 20, 1000, 1, (1, 20)),  # no more than there are
        (5, 20, 8, 1, (1, 7)),  # three parts of 7, 7 and 6
        (5, 20, 1, 1, (1, 1)),
        (5, 4, 1000, 8, (8, 4)),  # filled up for eight devices
        (100, 4, 100, 8, (24, 4)),
        (100, 4, 1, 8, (8, 1)),  # one image a device, even where that is beyond the budget
    ],
)
def test_chunk_shape(images, starts, pairs, multiple, expected):
    assert reference.chunk_shape(images, starts, pairs=pairs, multiple=multiple) == expected


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_chunks_are_put_together_in_order(rows, columns):
    targets, starts = jnp.arange(5.0), jnp.arange(20.0).reshape(5, 4)
    seen = []

    def function(some, some_starts, pairs):
        seen.append((some.shape, some_starts.shape, pairs))
        return {"sum": some[:, None] + some_starts, "start": some_starts[..., None]}

    out = reference.map_chunks(function, targets, starts, rows=rows, columns=columns)
    np.testing.assert_array_equal(out["sum"], np.arange(5.0)[:, None] + starts)
    np.testing.assert_array_equal(out["start"][..., 0], starts)
    assert {shapes[:2] for shapes in seen} == {((rows,), (rows, columns))}
    assert sum(pairs for *_, pairs in seen) == 20
