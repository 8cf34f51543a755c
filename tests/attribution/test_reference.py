import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.attribution import reference
from latentfp.attribution.estimate import Status
from latentfp.attribution.objective import Point, Problem
from latentfp.attribution.reference import (
    LATENT_DIFFUSION,
    STYLEGAN2,
    attribute_images,
    draw_starts,
    hypercube,
    result,
)
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.embed import Coding, compose, levels, sample_content
from latentfp.generators import linear
from latentfp.runtime import mesh

DIM, BITS, SIGMA = 24, 8, 1.0
LONG = STYLEGAN2._replace(starts=4, steps=250)
BRIEF = LONG._replace(steps=60)
# Float32 sums in another order over a few hundred steps; codes must agree exactly.
assert_same = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def energy(target, image):
    return jnp.sum((target - image) ** 2)


@pytest.fixture(scope="module")
def root():
    return rng.root(7)


@pytest.fixture(scope="module")
def generator():
    return linear.make(latent_dim=DIM)


@pytest.fixture(scope="module")
def params(root):
    return linear.init(root, latent_dim=DIM)


@pytest.fixture(scope="module")
def space(params):
    return split(Basis(jnp.zeros(DIM), jnp.eye(DIM), params["scale"]), shift=DIM - BITS, bits=BITS)


@pytest.fixture(scope="module")
def truth(root, space):
    """Contents within two standard deviations, where no penalty acts, and codes of six images."""
    alpha = jax.vmap(sample_content, (0, None))(jax.random.split(rng.stream(root, "content"), 6), space)
    codes = np.random.default_rng(8).random((6, BITS)) < 0.5
    limit = 2 * space.content_stds[None]
    return jnp.clip(alpha, -limit, limit), codes


def images_of(generator, params, space, truth, coding):
    alpha, codes = truth
    write = jax.vmap(lambda a, c: compose(space, a, levels(c, coding), sigma=SIGMA))
    return generator.synthesize(params, write(alpha, codes))


@pytest.fixture(scope="module")
def search(root, generator, params, space):
    options = {"key": root, "sigma": SIGMA, "coding": Coding.ANTIPODAL, "distance": energy, "settings": BRIEF}

    def run(images, **changes):
        return attribute_images(generator, params, space, images, **{**options, **changes})

    return run


@pytest.fixture(scope="module")
def images(generator, params, space, truth):
    return images_of(generator, params, space, truth, Coding.ANTIPODAL)


@pytest.fixture(scope="module")
def found(search, images):
    return search(images)


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


@pytest.mark.parametrize(
    ("settings", "low", "high"), [(STYLEGAN2, -1, 1), (LATENT_DIFFUSION._replace(starts=20), 0, 2)]
)
def test_starts_are_spread_over_the_published_range(key, space, settings, low, high):
    starts = draw_starts(key, jnp.arange(3), space, settings)
    assert starts.shape == (3, 20, DIM - BITS)
    in_stds = np.sort(np.asarray(starts / space.content_stds[None, None]), axis=1)
    expected = low + (high - low) * (np.arange(20) + 0.5) / 20
    np.testing.assert_allclose(in_stds, np.broadcast_to(expected[:, None], in_stds.shape), atol=1e-6)


def test_the_starts_of_an_image_follow_from_its_index(key, space):
    starts = draw_starts(key, jnp.arange(5), space, BRIEF)
    np.testing.assert_array_equal(draw_starts(key, jnp.array([3]), space, BRIEF)[0], starts[3])
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


@pytest.mark.parametrize("pairs", [3, 8])
def test_chunks_cannot_be_seen(search, images, found, pairs):
    chunked = search(images, pairs_per_chunk=pairs)
    np.testing.assert_array_equal(chunked.codes, found.codes)
    assert_same(chunked.losses, found.losses)
    assert_same(chunked.estimate.content, found.estimate.content)


def test_a_memory_budget_chunks_too(search, images, found):
    chunked = search(images, memory=1)
    np.testing.assert_array_equal(chunked.codes, found.codes)


def test_later_images_of_a_run_can_be_searched_apart(search, images, found):
    assert_same(search(images[4:], first_image=4).losses, found.losses[4:])


def test_files_and_device_arrays_are_searched_alike(search, images, found):
    assert_same(search(np.asarray(images)).losses, found.losses)


@pytest.mark.slow
def test_one_program_serves_all_chunks_strengths_and_images(generator, params, space, images):
    traced = []

    def synthesize(params, w):
        traced.append(w.shape)
        return generator.synthesize(params, w)

    run = partial(
        attribute_images,
        generator._replace(synthesize=synthesize),
        params,
        space,
        key=rng.root(1),
        distance=energy,
        pairs_per_chunk=8,
    )
    run(images, sigma=1.0, coding=Coding.ANTIPODAL, settings=BRIEF)
    once = len(traced)
    run(images[:5], sigma=0.7, coding=Coding.BINARY, settings=BRIEF)
    run(images[1:], sigma=0.7, coding=Coding.BINARY, settings=BRIEF._replace(steps=70, penalty=0.0))
    assert set(traced) == {(8, DIM)}
    assert len(traced) == once


def test_progress_counts_the_updates_of_all_pairs(search, images):
    heard = []
    search(images[:5], pairs_per_chunk=8, settings=BRIEF._replace(steps=70), progress=heard.append)
    assert sum(heard) == 5 * 4 * 70
    assert len(heard) == 3 * 2


@pytest.mark.slow
def test_the_number_of_devices_cannot_be_seen(images, found, params, space, generator):
    over = mesh.data_mesh(8)
    there, space_there = mesh.replicate(over, (params, space))
    spread = attribute_images(
        generator,
        there,
        space_there,
        images,
        key=rng.root(7),
        sigma=SIGMA,
        coding=Coding.ANTIPODAL,
        distance=energy,
        settings=BRIEF,
        place=partial(mesh.shard_batch, over),
        multiple=8,
    )
    np.testing.assert_array_equal(spread.codes, found.codes)
    assert_same(spread.losses, found.losses)


def test_a_distance_brings_its_weights(search, images, found):
    def weighted(weight, target, image):
        return weight * energy(target, image)

    twice = search(images, distance=jax.tree_util.Partial(weighted, jnp.array(2.0)))
    once = search(images, distance=jax.tree_util.Partial(weighted, jnp.array(1.0)))
    assert_same(once.losses, found.losses)
    assert (twice.losses != found.losses).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": BRIEF._replace(starts=0)}, "0 starts"),
        ({"settings": BRIEF._replace(steps=0)}, "0 steps"),
    ],
)
def test_impossible_settings_are_refused(search, images, changes, message):
    with pytest.raises(ValueError, match=message):
        search(images, **changes)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 9, 8, 3)])
def test_images_of_another_size_are_refused(search, shape):
    with pytest.raises(ValueError, match="resize"):
        search(np.zeros(shape, np.float32))


def test_a_space_of_another_generator_is_refused(images, params, space):
    other = linear.make(latent_dim=DIM + 1)
    with pytest.raises(ValueError, match="fit the basis"):
        attribute_images(
            other, params, space, images, key=rng.root(0), sigma=1.0, coding=Coding.BINARY, distance=energy
        )
