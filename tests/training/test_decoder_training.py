"""Training of a decoder on a linear generator: exact examples, the loss restated in float64, learning."""

from collections.abc import Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D, jacobian
from linear_subject import make_subject
from scipy.stats import binomtest
from small_decoder import NETWORK
from tolerances import SAME_PROGRAM

from latentfp.attribution.decoder import iterate
from latentfp.attribution.whitening import render
from latentfp.augment import damage
from latentfp.choices import Coding
from latentfp.pixels import round_to_8bit
from latentfp.training import decoder as training
from latentfp.training.decoder import Learning
from latentfp.training.examples import Shares, Source, draw_examples
from latentfp.training.pool import Pool

N, MOST, SIGMA = 64, 1024, 2.0
CLEAN = Shares(clean=1.0, mixed=0.0, fresh=0.0, ramp=0)
USUAL = Shares(clean=0.35, mixed=0.2, fresh=0.5, ramp=100)
LEARNING = Learning(
    rate=3e-3,
    warmup=5,
    steps=1000,
    weight_decay=0.0,
    average_decay=0.9,
    iterations=2,
    content_weight=0.3,
    damage_weight=0.1,
)


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=SIGMA)


@pytest.fixture(scope="module")
def source(subject):
    return Source(subject.generator, subject.params, subject.space, SIGMA, Coding.ANTIPODAL)


@pytest.fixture(scope="module")
def noisy(source):
    """The same generator with a noise map, of which every example may have its own."""
    plain = source.generator

    def synthesize(params, w):
        noise = params["noise"]
        return plain.synthesize(params["plain"], w) + (noise if noise.ndim == 4 else noise[None])

    def renoise(params, key, n):
        return {**params, "noise": 0.1 * jax.random.normal(key, (n, 16, 16, 3))}

    def sample(params, key, n):
        return plain.sample(params["plain"], key, n)

    generator = plain._replace(sample=sample, synthesize=synthesize, renoise=renoise)
    return source._replace(
        generator=generator, params={"plain": source.params, "noise": jnp.full((16, 16, 3), 0.2)}
    )


@cache
def program(generator, shares):
    """Draws MOST examples; compiled once."""

    @jax.jit
    def run(params, space, key, numbers, step):
        source = Source(generator, params, space, SIGMA, Coding.ANTIPODAL)
        return draw_examples(source, key, numbers, shares=shares, step=step)

    return run


def draw(source, key, *, shares, step=0, numbers: Sequence[int] = range(N)):
    wanted = np.zeros(MOST, int)
    wanted[: len(numbers)] = numbers
    found = program(source.generator, shares)(source.params, source.space, key, jnp.asarray(wanted), step)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(numbers)], found)


def make_task(subject, source, *, pool=Pool(), **changed):  # noqa: B008
    made = training.objective(
        source,
        subject.whitened,
        subject.curvature(),
        network={**NETWORK, "width": 64, "channels": 8, "squeeze": 8},
        shares=CLEAN,
        learning=LEARNING._replace(**changed),
        pool=pool,
        export=lambda weights, folder: None,  # noqa: ARG005
    )
    return made, getattr(made.update, "args")[0]  # noqa: B009


class TestExamples:
    def test_labels_are_exact(self, subject, source, key):
        """The image of the labels' coordinates, rounded to 8 bits, is the example."""
        found = draw(source, key, shares=CLEAN)
        theta = jnp.concatenate([found.content, 2.0 * found.code - 1], axis=1)
        expected = round_to_8bit(render(source.generator, source.params, subject.whitened, theta))
        levels = np.abs(np.asarray(found.images - expected)) * 127.5
        # Values within float32 rounding, 1e-6, of a half may fall on either side of it: one of 1e4.
        assert levels.max() < 1.01
        assert (levels > 0.5).mean() < 1e-3
        np.testing.assert_array_equal(found.damage, 0)

    def test_latents_are_samples_of_the_prior_with_fair_bits(self, source, key):
        found = draw(source, key, shares=CLEAN, numbers=range(1000))
        content = np.asarray(found.content)
        # Axes were fitted to 400 samples: their variances are known to 1 ± sqrt(2/400), at five deviations.
        assert np.abs(content.var(axis=0) - 1).max() < 5 * (2 / 400 + 2 / 1000) ** 0.5
        ones = int(np.asarray(found.code).sum())
        assert binomtest(ones, found.code.size).pvalue > 1e-6

    def test_images_are_8_bit_levels(self, source, key):
        found = np.asarray(draw(source, key, shares=USUAL, step=1000).images)
        levels = (found.astype(np.float64) + 1) * 127.5
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
        assert np.abs(found).max() <= 1

    def test_examples_follow_from_key_and_number(self, source, key):
        whole = draw(source, key, shares=USUAL, step=1000)
        numbers = [7, 3]
        some = draw(source, key, shares=USUAL, step=1000, numbers=numbers)
        for one, other in zip(some, whole, strict=True):
            # one grey level, at a tie
            np.testing.assert_allclose(one, other[jnp.array(numbers)], atol=1.01 / 127.5)
        np.testing.assert_array_equal(some.code, whole.code[jnp.array(numbers)])
        others = draw(source, jax.random.key(5), shares=USUAL, step=1000)
        assert (np.asarray(others.content) != np.asarray(whole.content)).all()
        assert len(np.unique(np.asarray(whole.content)[:, 0])) == N

    @pytest.mark.parametrize(("step", "ramped"), [(0, 0.0), (50, 0.5), (100, 1.0), (10_000, 1.0)])
    def test_shares_of_damage_ramp_up(self, source, key, step, ramped):
        n = 1024
        harm = np.asarray(draw(source, key, shares=USUAL, step=step, numbers=range(n)).damage)
        names = damage.Damage._fields
        groups = [[names.index(name) for name in part] for part in damage.PARTS]
        parts = sum(np.any(harm[:, group] != 0, axis=1).astype(int) for group in groups)
        clean, mixed = 1 - (1 - 0.35) * ramped, 0.2 * ramped
        # A mixture holds each of 7 parts with chance 1/2.
        expected = {
            "none": (np.sum(parts == 0), clean + mixed / 128),
            "one": (np.sum(parts == 1), 1 - clean - mixed + mixed * 7 / 128),
            "more": (np.sum(parts > 1), mixed * 120 / 128),
        }
        for name, (count, chance) in expected.items():
            assert binomtest(int(count), n, min(chance, 1.0)).pvalue > 1e-6, name

    @pytest.mark.parametrize("fresh", [0.0, 0.5, 1.0])
    def test_a_share_has_fresh_noise(self, noisy, key, fresh):
        n = 400
        found = draw(noisy, key, shares=CLEAN._replace(fresh=fresh), numbers=range(n))
        stored = draw(noisy, key, shares=CLEAN, numbers=range(n))
        np.testing.assert_array_equal(found.code, stored.code)
        changed = np.any(np.asarray(found.images != stored.images), axis=(1, 2, 3))
        if fresh in (0.0, 1.0):
            assert (changed == bool(fresh)).all()
        assert binomtest(int(changed.sum()), n, fresh).pvalue > 1e-6
        if fresh == 1:
            # every image has its own: the mean over 400 of them is a twentieth of 0.1, and not 0.2
            noise = np.asarray(found.images - stored.images) + 0.2
            assert np.abs(noise.mean(axis=0)).std() < 0.01

    def test_a_generator_without_noise_maps_has_none(self, source, key):
        some = draw(source, key, shares=CLEAN._replace(fresh=1.0))
        np.testing.assert_array_equal(some.images, draw(source, key, shares=CLEAN).images)


def test_visible_content_counts(subject, source):
    _, task = make_task(subject, source)
    j = jacobian(subject.params, subject.whitened)
    power = np.diag(j.T @ j)[:-BITS]
    np.testing.assert_allclose(task.visible, power / (power + 0.01), rtol=1e-4)
    assert task.visible.shape == (D - BITS,)


def test_loss_and_metrics_are_those_of_the_formula(subject, source, key):
    """In float64, from the readings of both iterations and examples of which two are clean."""
    made, task = make_task(subject, source)
    state = made.init(key)
    examples = draw(source, key, shares=CLEAN, numbers=range(6))
    harm = np.zeros((6, damage.SIZE), np.float32)
    harm[2:, 4] = 0.5
    examples = examples._replace(damage=jnp.asarray(harm))
    fixed = (source.generator, source.params, subject.whitened)
    found = jax.jit(lambda x: iterate(task.decoder, state.weights, *fixed, x, count=2))(examples.images)
    share = np.asarray(task.visible, np.float64) / np.sum(np.asarray(task.visible, np.float64))
    code, truth = np.float64(examples.code), np.float64(examples.content)
    losses, entropy, content, error = [], 0.0, np.zeros(6), np.zeros(6)
    for reading, _ in found:
        logits = np.float64(reading.logits)
        entropy = np.mean(np.log1p(np.exp(logits)) - code * logits)
        content = (np.float64(reading.content) - truth) ** 2 @ share
        error = np.mean((np.float64(reading.damage) - harm) ** 2, axis=1)
        losses.append(entropy + 0.3 * content.mean() + 0.1 * error.mean())
    value, metrics = jax.jit(partial(training.loss, task))(state.weights, examples)
    np.testing.assert_allclose(value, np.mean(losses), rtol=1e-5)
    right = (np.asarray(found[-1][0].logits) > 0) == np.asarray(examples.code)
    expected = {
        "cross_entropy": (6 * entropy, 6),
        "content_error": (content.sum(), 6),
        "damage_error": (error.sum(), 6),
        "bits": (right.mean(axis=1).sum(), 6),
        "clean/bits": (right[:2].mean(axis=1).sum(), 2),
        "clean/all_bits": (right[:2].all(axis=1).sum(), 2),
    }
    assert metrics.keys() == expected.keys()
    for name, pair in expected.items():
        np.testing.assert_allclose(metrics[name], pair, rtol=1e-5, err_msg=name)


def test_the_first_steps(subject, source, key):
    """Warm-up begins at no step at all; the average follows the weights quickly at first."""
    made, _ = make_task(subject, source)
    update = jax.jit(made.update)
    start = made.init(key)
    numbers = jnp.arange(8)
    first, _ = update(start, key, numbers, 0)
    jax.tree.map(np.testing.assert_array_equal, first.weights, start.weights)
    second, _ = update(first, key, numbers, 1)
    for old, average, new in zip(
        *(jax.tree.leaves(x) for x in (first.average, second.average, second.weights)), strict=True
    ):
        decay = 2 / 11  # (1 + step) / (10 + step)
        expected = np.float64(new) + decay * (np.float64(old) - np.float64(new))
        np.testing.assert_allclose(average, expected, **SAME_PROGRAM)
    leaves = zip(*map(jax.tree.leaves, (second.weights, first.weights)), strict=True)
    moved = max(np.abs(new - old).max() for new, old in leaves)
    assert (
        0 < moved < 2 * LEARNING.rate / LEARNING.warmup
    )  # Adam's step is about its rate, a fifth of the last


@pytest.mark.slow
def test_a_decoder_learns(subject, source, key):
    """Of images that are linear in the bits, in 120 steps; undecided bits have an entropy of log 2."""
    made, _ = make_task(subject, source)
    update, state, entropy = jax.jit(made.update), made.init(key), []
    for step in range(120):
        state, metrics = update(state, jax.random.fold_in(key, step), jnp.arange(32), step)
        total, count = metrics["cross_entropy"]
        entropy.append(float(total / count))
    assert 0.9 * np.log(2) < np.mean(entropy[:3]) < 2 * np.log(2)
    assert np.mean(entropy[-10:]) < 0.7 * np.log(2)


def test_gradients_are_clipped():
    chain = training.adam(LEARNING._replace(warmup=0))
    weights = {"w": jnp.zeros(2)}
    large, small = ({"w": jnp.asarray([3.0, 4.0]) * s} for s in (100.0, 0.2))
    for gradient in (large, small):
        updates, state = chain.update(gradient, chain.init(weights), weights)
        # Adam's first step has the size of the rate, whatever the gradient
        np.testing.assert_allclose(jax.tree.leaves(updates)[0], -LEARNING.rate, rtol=1e-4)
        moments = [leaf for leaf in jax.tree.leaves(state) if getattr(leaf, "shape", ()) == (2,)]
        direction = np.array([0.6, 0.8]) * min(1.0, float(jnp.linalg.norm(gradient["w"])))
        np.testing.assert_allclose(moments[0], 0.1 * direction, rtol=1e-5)


def test_contents_come_from_a_pool_that_is_renewed(subject, source, key):
    """Steps on a pool see its contents only; the lazy update renews some of them and nothing else."""
    made, task = make_task(subject, source, pool=Pool(64, every=2))
    (lazy,) = made.lazy
    assert lazy.every == 2
    state = made.init(key)
    assert state.latents.shape == (64, subject.generator.latent_dim)
    found = draw_examples(source, key, jnp.arange(8), shares=CLEAN, step=0, latents=state.latents)
    content = found.content * source.space.content_stds[None]
    known = (state.latents - source.space.mean[None]) @ source.space.content_axes.T
    nearest = jnp.min(jnp.linalg.norm(content[:, None] - known[None], axis=2), axis=1)
    np.testing.assert_allclose(nearest, 0, atol=1e-4)
    renewed, metrics = lazy.update(state, key, jnp.arange(8), jnp.asarray(0))
    assert metrics == {}
    assert (renewed.latents != state.latents).all()
    jax.tree.map(np.testing.assert_array_equal, renewed[:3], state[:3])
    assert task.pool == Pool(64, every=2)
    assert make_task(subject, source)[0].lazy == ()
