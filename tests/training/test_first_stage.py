"""The first stage's losses and updates against NumPy; a few dozen steps on a few images."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import optax
import pytest
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp import rng
from latentfp.generators.latent_diffusion.first_stage import FirstStage, PatchDiscriminator
from latentfp.training import first_stage as training
from latentfp.training.steps import flipped

N, SIZE, RATE, CRITIC_RATE, FROM = 4, 8, 0.1, 0.05, 10
FIELDS = {"channels": (4, 4), "blocks": 1, "latent": 2, "groups": 2}
LEARNING = {
    "rate": 1e-2,
    "warmup": 5,
    "steps": 60,
    "average_decay": 0.9,
    "scales": 2,
    "latent_weight": 0.02,
    "adversary_weight": 0.3,
    "adversary_from": FROM,
}
ROUNDING = Tolerance(rtol=1e-4, atol=1e-5)  # of the networks' tests, through a gradient
REAL = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, size=(N, SIZE, SIZE, 3)), jnp.float32)
MADE = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, size=(N, SIZE, SIZE, 3)), jnp.float32)


def make_task(**fields):
    """Plain gradient descent, so that an update shows its gradient."""
    return training.Task(
        stage=FirstStage(**FIELDS, **fields),
        critic=PatchDiscriminator((4, 4), groups=2),
        learning=training.Learning(**LEARNING),
        optimizer=optax.sgd(RATE),
        critic_optimizer=optax.sgd(CRITIC_RATE),
    )


TASK, CODED = make_task(), make_task(codes=5)
CRITIC = oracle.fan_scaled(TASK.critic, REAL, seed=3)


def weights_of(task):
    return oracle.fan_scaled(task.stage, REAL, seed=4)


def judge(images):
    return oracle.patches(CRITIC, images, 2, 2)


def halved(x):
    """Means of 2×2 pixels."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def blocks(a, b, scales):
    """The differences at every scale."""
    found = [wide(a) - wide(b)]
    for _ in range(scales):
        found.append(halved(found[-1]))
    return found


BOARD = jnp.asarray((-1.0) ** np.indices((SIZE, SIZE)).sum(0), jnp.float32)[None, :, :, None] * jnp.ones(
    (1, 1, 1, 3)
)


@pytest.mark.parametrize(("scales", "expected"), [(0, 1), (1, 1 / 2), (2, 1 / 3), (3, 1 / 4)])
def test_what_halving_hides_is_no_distance(scales, expected):
    """A chessboard of ±1 is grey from the first halving on; a grey of ½ is ½ at all sizes."""
    blank = jnp.zeros_like(BOARD)
    assert training.distance(BOARD, blank, scales=scales) == pytest.approx(expected)
    assert training.distance(blank, blank + 0.5, scales=scales) == pytest.approx(0.5)


@pytest.mark.parametrize("scales", [0, 1, 3])
def test_distance(scales):
    expected = np.mean([np.abs(block).mean() for block in blocks(MADE, REAL, scales)])
    np.testing.assert_allclose(training.distance(MADE, REAL, scales=scales), expected, rtol=1e-6)


def encode(weights, images, noise):
    """A latent of the posterior, and 0.02 times its mean divergence from N(0, 1)."""
    mean, log_variance = np.split(oracle.moments(weights, images, FIELDS), 2, axis=-1)
    each = (mean**2 + np.exp(log_variance) - 1 - log_variance) / 2
    return mean + np.exp(log_variance / 2) * noise, 0.02 * each.mean()


def test_a_normal_latent_is_drawn_and_pays_for_its_divergence(key):
    weights = weights_of(TASK)
    found = jax.jit(partial(training.encode, TASK))(weights, REAL, key)
    noise = wide(jax.random.normal(rng.stream(key, "posterior"), (N, SIZE // 2, SIZE // 2, 2)))
    for actual, expected in zip(found, encode(weights, REAL, noise), strict=True):
        np.testing.assert_allclose(actual, expected, **ROUNDING)


def test_a_latent_of_codes_is_not_drawn_and_pays_for_its_distance(key):
    weights = weights_of(CODED)
    z, simple = jax.jit(partial(training.encode, CODED))(weights, REAL, key)
    seen = oracle.moments(weights, REAL, FIELDS)
    np.testing.assert_allclose(z, seen, **ROUNDING)
    codes = wide(weights["codebook"])[oracle.nearest(seen, wide(weights["codebook"]))]
    np.testing.assert_allclose(simple, 1.25 * np.mean((codes - seen) ** 2), **ROUNDING)


def test_the_encoder_shall_find_what_the_decoder_was_given(key):
    """Latents of the data with noise, in units of the latents' variance."""
    weights, variance = weights_of(TASK), 2.0
    task = TASK._replace(learning=TASK.learning._replace(inverse_weight=1.0, inverse_noise=0.5))
    z = jax.random.normal(jax.random.key(8), (N, SIZE // 2, SIZE // 2, 2))
    found = training.inverse(task, jax.tree.map(jnp.asarray, weights), z, key, jnp.float32(variance))
    noise = wide(jax.random.normal(rng.stream(key, "inverse"), z.shape))
    given = wide(z) + 0.5 * np.sqrt(variance) * noise
    seen = oracle.moments(weights, oracle.decode(weights, given, FIELDS), FIELDS)[..., :2]
    np.testing.assert_allclose(found, np.mean((seen - given) ** 2) / variance, rtol=1e-4)
    assert training.inverse(TASK, weights, z, key, jnp.float32(variance)) == 0


balanced = jax.jit(partial(training.balanced, TASK))


def pulls(step, critic=CRITIC):
    """The gradient at the images and the distance."""
    return balanced(critic, MADE, REAL, jnp.int32(step))


def test_before_the_adversary_there_is_only_the_distance():
    gradient, apart = pulls(FROM - 1)
    differences = blocks(MADE, REAL, 2)
    np.testing.assert_allclose(apart, np.mean([np.abs(d).mean() for d in differences]), rtol=1e-6)
    large = [np.sign(d).repeat(2**i, axis=1).repeat(2**i, axis=2) for i, d in enumerate(differences)]
    np.testing.assert_allclose(gradient, np.mean(large, axis=0) / REAL.size, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("step", [FROM, 10 * FROM])
def test_the_adversary_has_its_share_of_the_gradient(step):
    """0.3 times as long as that of the distance, and towards images that look more real."""
    plain, _ = pulls(0)
    both, _ = pulls(step)
    adversary = wide(both) - wide(plain)
    assert np.linalg.norm(adversary) == pytest.approx(0.3 * np.linalg.norm(plain), rel=1e-4)
    upwards = -adversary / np.linalg.norm(adversary)
    slope = (judge(MADE + 1e-4 * upwards).mean() - judge(MADE - 1e-4 * upwards).mean()) / 2e-4
    judged: Any = TASK.critic.apply
    steepest = jax.jit(jax.grad(lambda images: jnp.mean(judged({"params": CRITIC}, images))))(MADE)
    assert slope == pytest.approx(np.linalg.norm(steepest), rel=1e-3)  # no other direction is as steep


def test_an_indifferent_critic_is_no_adversary():
    indifferent = jax.tree.map(jnp.zeros_like, CRITIC)
    np.testing.assert_array_equal(pulls(FROM, indifferent)[0], pulls(0)[0])


def fresh_state(task):
    """In the middle of a run: the average is not the weights."""
    weights = jax.tree.map(jnp.asarray, weights_of(task))
    return training.StageState(
        weights=weights,
        average=jax.tree.map(lambda leaf: leaf + 1, weights),
        optimizer=task.optimizer.init(weights),
        critic=jax.tree.map(jnp.asarray, CRITIC),
        critic_optimizer=task.critic_optimizer.init(CRITIC),
        variance=jnp.float32(7.0),
    )


class Step(NamedTuple):
    """A step before and one with the adversary, and what both saw, in NumPy."""

    state: training.StageState
    early: training.StageState
    late: training.StageState
    metrics: dict[str, Any]
    real: np.ndarray
    noise: np.ndarray
    z: np.ndarray
    simple: float
    made: np.ndarray


@pytest.fixture(scope="module")
def step():
    state, key = fresh_state(TASK), jax.random.key(3)
    update = jax.jit(partial(training.update, TASK))
    (early, _), (late, metrics) = (update(state, key, REAL, jnp.int32(step)) for step in (0, 200))
    real = wide(flipped(key, REAL))
    noise = wide(jax.random.normal(rng.stream(key, "posterior"), (N, SIZE // 2, SIZE // 2, 2)))
    z, simple = encode(state.weights, real, noise)
    return Step(state, early, late, metrics, real, noise, z, simple, oracle.decode(state.weights, z, FIELDS))


def test_an_update_moves_the_weights_by_all_three_parts(step):
    """By RATE times the gradient, through the drawn latents of the mirrored images."""
    made, real = jnp.asarray(step.made, jnp.float32), jnp.asarray(step.real, jnp.float32)
    for after, number in ((step.early, 0), (step.late, 200)):
        pull = wide(balanced(step.state.critic, made, real, jnp.int32(number))[0])

        def total(weights, pull=pull):
            z, simple = encode(weights, step.real, step.noise)
            return np.sum(pull * oracle.decode(weights, z, FIELDS)) + simple

        gradient = jax.tree.map(lambda b, a: (wide(b) - wide(a)) / RATE, step.state.weights, after.weights)
        expected, found = oracle.along(total, step.state.weights, gradient)
        assert found == pytest.approx(expected, rel=1e-3)
    assert not np.array_equal(step.real, REAL)


def test_an_update_moves_the_critic_by_its_hinge(step):
    """Also before it is asked: half the mean of max(0, 1 + D(made)) and max(0, 1 - D(real))."""

    def hinge(critic):
        on_made, on_real = (oracle.patches(critic, images, 2, 2) for images in (step.made, step.real))
        return np.mean(np.maximum(0, 1 + on_made) + np.maximum(0, 1 - on_real)) / 2

    np.testing.assert_allclose(step.metrics["hinge"][0], hinge(CRITIC), **ROUNDING)
    for after in (step.early, step.late):
        gradient = jax.tree.map(lambda b, a: (wide(b) - wide(a)) / CRITIC_RATE, CRITIC, after.critic)
        expected, found = oracle.along(hinge, CRITIC, gradient)
        assert found == pytest.approx(expected, rel=1e-3)


def test_averages_move_fast_at_first(step):
    """A tenth of the old at step 0, from then on up to `average_decay`."""
    for after, share in ((step.early, 0.1), (step.late, 0.9)):
        for average, old, new in zip(
            *(jax.tree.leaves(t) for t in (after.average, step.state.average, after.weights)), strict=True
        ):
            np.testing.assert_allclose(average, share * wide(old) + (1 - share) * wide(new), **ROUNDING)
    for after, share in ((step.early, 0.1), (step.late, 201 / 210)):
        expected = share * 7 + (1 - share) * np.var(step.z)
        np.testing.assert_allclose(after.variance, expected, rtol=1e-5)


def test_metrics_of_an_update(step):
    error = np.mean((wide(step.made) - wide(step.real)) ** 2, axis=(1, 2, 3))
    apart = np.mean([np.abs(d).mean() for d in blocks(step.made, step.real, 2)])
    expected = {
        "distance": (apart, 1),
        "latent": (step.simple, 1),
        "inverse": (0, 1),
        "psnr": (np.sum(10 * np.log10(2**2 / error)), N),
        "variance": (step.late.variance, 1),
    }
    assert step.metrics.keys() == expected.keys() | {"hinge"}
    for name, pair in expected.items():
        np.testing.assert_allclose(step.metrics[name], pair, rtol=1e-4, err_msg=name)
