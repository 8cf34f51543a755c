"""The updates against closed forms of the linear GAN."""

from typing import Any

import jax
import jax.numpy as jnp
import linear_gan as toy
import numpy as np
import optax
import pytest
from linear_gan import RATE
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp import rng
from latentfp.training import gan
from latentfp.training.steps import flipped

N = 8
ROUNDING = Tolerance(rtol=2e-5, atol=2e-6)  # sums of tens of numbers of order one in float32, squared
REAL = jnp.asarray(np.random.default_rng(4).normal(size=(N, 2, 2, 3)), jnp.float32)


@pytest.fixture(scope="module")
def net():
    return toy.make()


@pytest.fixture(scope="module")
def state(net):
    """A state in the middle of a run: the average is not the generator."""
    fresh = gan.init(net, jax.random.key(2))
    average = jax.tree.map(lambda leaf: leaf + 1, fresh.generator)
    return fresh._replace(average=average, path_mean=jnp.float32(0.4))


def assert_weights(state, expected):
    for actual, wanted in zip(toy.numbers(state), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, **ROUNDING)


def batch_sum(factors, images):
    return np.einsum("b,bhwc->hwc", factors, images)


def discriminator_step(net, state, key):
    """Weights and metrics after the discriminator's step, in NumPy."""
    now, real = toy.numbers(state), wide(REAL)
    fake = toy.render(now, toy.draw(net, key, N))
    on_fake, on_real = toy.logits(now, fake), toy.logits(now, real)
    push, pull = toy.sigmoid(on_fake) / N, -toy.sigmoid(-on_real) / N
    metrics = {
        "loss/discriminator": (np.mean(toy.softplus(on_fake) + toy.softplus(-on_real)), 1),
        "sign/real": (np.sign(on_real).sum(), N),
        "sign/fake": (np.sign(on_fake).sum(), N),
    }
    return now._replace(
        linear=now.linear - RATE * (batch_sum(push, fake) + batch_sum(pull, real)),
        square=now.square - RATE / 2 * (batch_sum(push, fake**2) + batch_sum(pull, real**2)),
    ), metrics


def generator_step(net, now, key):
    """Weights and metrics after the generator's step, in NumPy."""
    drawn = toy.draw(net, key, N)
    fake = toy.render(now, drawn)
    logits = toy.logits(now, fake)
    cotangent = (-toy.sigmoid(-logits) / N)[:, None, None, None] * toy.slopes(now, fake)
    matrix, basis, strength = toy.pull_back(now, drawn, cotangent)
    return now._replace(
        matrix=now.matrix - RATE * matrix,
        basis=now.basis - RATE * basis,
        strength=now.strength - RATE * strength,
    ), {"loss/generator": (np.mean(toy.softplus(-logits)), 1)}


def assert_metrics(actual, expected):
    assert actual.keys() == expected.keys()
    for name, pair in expected.items():
        np.testing.assert_allclose(actual[name], pair, **ROUNDING)


def test_the_discriminator_moves_alone(net, state, key):
    after, metrics = gan.update_discriminator(net, state, key, REAL)
    expected, numbers = discriminator_step(net, state, key)
    assert_weights(after, expected)
    assert_metrics(metrics, numbers)
    assert after.generator is state.generator
    assert after.average is state.average
    assert after.generator_optimizer is state.generator_optimizer
    assert after.path_mean is state.path_mean


def test_the_generator_moves_alone(net, state, key):
    after, metrics = gan.update_generator(net, state, key, N)
    expected, numbers = generator_step(net, toy.numbers(state), key)
    assert_weights(after, expected)
    assert_metrics(metrics, numbers)
    assert after.discriminator is state.discriminator
    assert after.average is state.average
    assert after.discriminator_optimizer is state.discriminator_optimizer
    assert after.path_mean is state.path_mean


def assert_averaged(after, before, decay):
    jax.tree.map(
        lambda average, old, new: np.testing.assert_allclose(
            average, decay * wide(old) + (1 - decay) * wide(new), **ROUNDING
        ),
        after.average,
        before.average,
        after.generator,
    )


@pytest.mark.parametrize(("step", "halflife"), [(0, 0.4), (9, 4.0), (249, 100.0), (100_000, 100.0)])
def test_the_average_remembers_a_twentieth_of_the_run(net, state, step, halflife):
    after = gan.update_average(net, state, N, jnp.int32(step))
    assert_averaged(after, state, 0.5 ** (N / halflife))
    assert after.generator is state.generator


def test_an_update_is_both_steps_then_the_average(net, state, key):
    net = net._replace(flip=False)
    after, metrics = gan.update(net, state, key, REAL, jnp.int32(30))
    middle, on_discriminator = discriminator_step(net, state, rng.stream(key, "discriminator"))
    expected, on_generator = generator_step(net, middle, rng.stream(key, "generator"))
    assert_weights(after, expected)
    assert_metrics(metrics, on_discriminator | on_generator)
    assert_averaged(after, state, 0.5 ** (N / (0.05 * N * 31)))


def test_lazy_r1_makes_up_for_the_steps_without_it(net, state, key):
    net = net._replace(flip=False)
    after, metrics = gan.regularize_discriminator(net, state, key, REAL, jnp.int32(0))
    now, real = toy.numbers(state), wide(REAL)
    slopes = toy.slopes(now, real)
    step = RATE * 0.7 / 2 * 3  # gamma / 2 times the interval
    linear, square = 2 * slopes.mean(axis=0), 2 * (slopes * real).mean(axis=0)
    assert_weights(after, now._replace(linear=now.linear - step * linear, square=now.square - step * square))
    assert_metrics(metrics, {"r1": (np.mean(np.sum(slopes**2, axis=(1, 2, 3))), 1)})
    assert after.generator is state.generator


def test_lazy_path_lengths_of_a_part_of_the_batch(net, state, key):
    after, metrics = gan.regularize_generator(net, state, key, REAL, jnp.int32(0))
    now, n = toy.numbers(state), N // 2
    y = wide(jax.random.normal(rng.stream(key, "path"), (n, 2, 2, 3))) / 2
    pulled = np.einsum("bhwc,ldhwc->bld", y, now.basis)
    lengths = np.sqrt(np.mean(np.sum(pulled**2, axis=2), axis=1))
    mean = 0.4 + 0.2 * (lengths.mean() - 0.4)
    factors = 2 / n * (lengths - mean) / lengths / toy.LAYERS
    basis = np.einsum("b,bld,bhwc->ldhwc", factors, pulled, y)
    assert_weights(after, now._replace(basis=now.basis - RATE * 1.5 * 5 * basis))
    assert_metrics(metrics, {"path/penalty": (np.mean((lengths - mean) ** 2), 1), "path/length": (mean, 1)})
    np.testing.assert_allclose(after.path_mean, mean, **ROUNDING)
    assert after.discriminator is state.discriminator
    assert after.average is state.average


def test_half_of_the_images_are_mirrored(key):
    images = jax.random.normal(rng.stream(key, "images"), (200, 2, 3, 3))
    seen = flipped(key, images)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(seen, images, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(seen, images, strict=True)]
    assert [a != b for a, b in zip(mirrored, kept, strict=True)] == [True] * 200
    assert 65 <= sum(mirrored) <= 135  # 100 of 200, deviation 7; five of these
    assert flipped(key, images, flip=False) is images


def test_r1_sees_the_images_that_were_mirrored(net, state, key):
    _, plain = gan.regularize_discriminator(net._replace(flip=False), state, key, REAL, jnp.int32(0))
    _, mirrored = gan.regularize_discriminator(net, state, key, REAL, jnp.int32(0))
    seen = flipped(key, REAL, flip=net.flip)
    slopes = toy.slopes(toy.numbers(state), wide(seen))
    np.testing.assert_allclose(mirrored["r1"][0], np.mean(np.sum(slopes**2, axis=(1, 2, 3))), **ROUNDING)
    assert plain["r1"][0] != mirrored["r1"][0]


def test_an_update_is_a_function_of_its_arguments(net, state, key):
    update = jax.jit(lambda *args: gan.update(net, *args))

    def weights(key, step):
        after, _ = update(state, key, REAL, jnp.int32(step))
        return after

    first, again = weights(key, 3), weights(key, 3)
    jax.tree.map(np.testing.assert_array_equal, again, first)
    later, other = weights(key, 4), weights(jax.random.key(8), 3)
    jax.tree.map(np.testing.assert_array_equal, later._replace(average=first.average), first)
    assert not np.array_equal(later.average["synthesis"]["basis"], first.average["synthesis"]["basis"])
    for one, different in zip(toy.numbers(other), toy.numbers(first), strict=True):
        assert (one != different).all()


def test_lazy_adam_is_adam_with_scaled_coefficients():
    optimizer = gan.lazy_adam(0.03, 0.9, 4)
    rate, decay = 0.03 * 4 / 5, 0.9 ** (4 / 5)
    weight, second = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    params: Any = jnp.asarray(weight, jnp.float32)
    moments = optimizer.init(params)
    for step, gradient in enumerate(np.random.default_rng(1).normal(size=(5, 3)), start=1):
        second = decay * second + (1 - decay) * gradient**2
        weight = weight - rate * gradient / (np.sqrt(second / (1 - decay**step)) + 1e-8)
        updates, moments = optimizer.update(jnp.asarray(gradient, jnp.float32), moments, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weight, rtol=1e-5, atol=1e-6)


def test_a_fresh_state(net, key):
    state = gan.init(net, key)
    jax.tree.map(np.testing.assert_array_equal, state.average, state.generator)
    shared = {id(leaf) for leaf in jax.tree.leaves(state.average)}
    assert not shared & {id(leaf) for leaf in jax.tree.leaves(state.generator)}  # both are donated
    assert state.path_mean == 0
    assert not np.array_equal(toy.numbers(state).linear, toy.numbers(state).square)


def test_a_preview_is_of_the_average_without_mixing(net, state, key):
    images = gan.preview(net, state, key, 5)
    z = wide(jax.random.normal(rng.stream(key, "z"), (5, toy.DIM)))
    noise = wide(jax.random.normal(rng.stream(key, "noise", 0), (5, 4, 4)))[:, :2, :2]
    average = toy.numbers(state._replace(generator=state.average))
    drawn = toy.Drawn(np.repeat(z[:, None], toy.LAYERS, axis=1), noise)
    np.testing.assert_allclose(images, toy.render(average, drawn), **ROUNDING)


def test_an_objective_states_its_lazy_steps():
    made = gan.objective(size=16, channels=(2, 2, 2), r1_gamma=1.0, r1_every=7, path_every=3)
    assert [lazy.every for lazy in made.lazy] == [7, 3]
    with pytest.raises(ValueError, match="got 2 channel numbers"):
        gan.objective(size=16, channels=(2, 2), r1_gamma=1.0)
