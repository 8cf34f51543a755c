import jax
import jax.numpy as jnp
import linear_gan as toy
import numpy as np
import pytest
import stylegan2_oracle as oracle
from flax import linen as nn
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp import rng
from latentfp.generators.stylegan2 import model, networks
from latentfp.training import gan

N = 8
ROUNDING = Tolerance(rtol=2e-5, atol=2e-6)  # sums of tens of numbers of order one in float32, squared


@pytest.fixture(scope="module")
def net():
    return toy.make()


@pytest.fixture(scope="module")
def state(net):
    return gan.init(net, jax.random.key(1))


def images(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(N, 2, 2, 3)), jnp.float32)


def test_styles_mix_two_latents(net, state, key):
    ws = gan.draw_styles(net, state.generator, key, N)
    expected = toy.draw(net, key, N).z @ toy.numbers(state).matrix
    np.testing.assert_allclose(ws, expected, **ROUNDING)


@pytest.mark.parametrize(("mixing", "low", "high"), [(0.0, 0, 0), (1.0, 1, 1), (0.9, 0.85, 0.95)])
def test_the_share_of_mixed_images(mixing, low, high, state, key):
    # 1000 images: a share of 0.9 errs by 0.0095; five of these
    ws = gan.draw_styles(toy.make(mixing=mixing), state.generator, key, 1000)
    changes = np.any(np.diff(ws, axis=1) != 0, axis=2).sum(axis=1)
    assert set(changes.tolist()) <= {0, 1}
    assert low <= changes.mean() <= high


def test_render_draws_noise_for_each_image(net, state, key):
    drawn = toy.draw(net, key, N)
    ws = jnp.asarray(drawn.z @ toy.numbers(state).matrix, jnp.float32)
    actual = gan.render(net, state.generator, ws, key)
    np.testing.assert_allclose(actual, toy.render(toy.numbers(state), drawn), **ROUNDING)


def test_discriminator_loss_is_the_logistic_loss(net, state):
    fake, real, numbers = images(1), images(2), toy.numbers(state)
    value, logits = gan.discriminator_loss(state.discriminator, net, fake, real)
    expected = [toy.logits(numbers, wide(x)) for x in (fake, real)]
    np.testing.assert_allclose(logits, expected, **ROUNDING)
    terms = [np.mean(toy.softplus(expected[0])), np.mean(toy.softplus(-expected[1]))]
    np.testing.assert_allclose(value, sum(terms), **ROUNDING)


def test_generator_loss_does_not_saturate(net, state, key):
    numbers = toy.numbers(state)
    value = gan.generator_loss(state.generator, net, state.discriminator, key, N)
    on_fake = toy.logits(numbers, toy.render(numbers, toy.draw(net, key, N)))
    np.testing.assert_allclose(value, np.mean(toy.softplus(-on_fake)), **ROUNDING)


def test_r1_is_the_squared_slope_at_real_images(net, state):
    real = images(3)
    value = gan.r1_penalty(state.discriminator, net, real)
    slopes = toy.slopes(toy.numbers(state), wide(real))
    np.testing.assert_allclose(value, np.mean(np.sum(slopes**2, axis=(1, 2, 3))), **ROUNDING)


def expected_lengths(state, key, n):
    y = wide(jax.random.normal(rng.stream(key, "path"), (n, 2, 2, 3))) / np.sqrt(2 * 2)
    pulled = np.einsum("bhwc,ldhwc->bld", y, toy.numbers(state).basis)
    return np.sqrt(np.mean(np.sum(pulled**2, axis=2), axis=1))


def test_path_lengths_are_those_of_the_jacobian(net, state, key):
    lengths = gan.path_lengths(net, state.generator, key, N)
    np.testing.assert_allclose(lengths, expected_lengths(state, key, N), **ROUNDING)


def test_the_path_penalty_is_the_spread_about_the_running_mean(net, state, key):
    lengths = expected_lengths(state, key, N)
    value, mean = gan.path_penalty(state.generator, net, jnp.float32(0.4), key, N)
    moved = 0.4 + net.path_decay * (lengths.mean() - 0.4)
    np.testing.assert_allclose(mean, moved, **ROUNDING)
    np.testing.assert_allclose(value, np.mean((lengths - moved) ** 2), **ROUNDING)


def smooth(x, clamp=None, gain=1.0):
    assert clamp is None
    return gain * (0.3 * x + nn.softplus(x))


@pytest.fixture
def smooth_gan(monkeypatch):
    """StyleGAN2 of 8×8 images, with an activation that can be differentiated twice: leaky ReLU has kinks.

    The mean path length stays as it is: no gradient is taken of it.
    """
    monkeypatch.setattr(networks, "leaky", smooth)
    nets = model.StyleGAN2(networks.Mapping(4, 1), networks.Synthesis(8, (3, 2)))
    return toy.make(path_decay=0.0)._replace(nets=nets, critic=networks.Discriminator(8, (3, 2), 2))


def assert_gradient(function, params):
    """A half of the gradient, and the other half, is the slope of the value along it.

    A central difference over a change of the value by 1 % on each side errs by some (1 %)², and by rounding
    (1e-6 of the value) over that change: 1e-4.
    """
    value_and_grad = jax.jit(jax.value_and_grad(function))
    height, gradient = value_and_grad(params)
    draw = np.random.default_rng(5)
    chosen = jax.tree.map(lambda leaf: draw.integers(0, 2, leaf.shape).astype(np.float32), params)
    for half in (chosen, jax.tree.map(lambda leaf: 1 - leaf, chosen)):
        along = jax.tree.map(lambda g, mask: np.asarray(g) * mask, gradient, half)
        steepness = sum(np.sum(wide(leaf) ** 2) for leaf in jax.tree.leaves(along))
        step = np.float32(0.01 * height / steepness)

        def value(sign, along=along, step=step):
            return float(value_and_grad(jax.tree.map(lambda p, v: p + sign * step * v, params, along))[0])

        np.testing.assert_allclose((value(1) - value(-1)) / (2 * step), steepness, rtol=2e-3)


@pytest.mark.slow
def test_second_derivatives_of_r1(smooth_gan):
    real = jnp.asarray(np.random.default_rng(6).normal(size=(2, 8, 8, 3)), jnp.float32)
    params = oracle.random_params(smooth_gan.critic, real)
    assert_gradient(lambda p: gan.r1_penalty(p, smooth_gan, real), params)


@pytest.mark.slow
def test_second_derivatives_of_path_lengths(smooth_gan, key):
    nets = smooth_gan.nets
    w = jnp.zeros((1, 4))
    noise = [jnp.zeros((n, n)) for n in networks.noise_sizes(8)]
    params = {
        "mapping": jax.tree.map(lambda leaf: 100 * leaf, oracle.random_params(nets.mapping, w)),
        "synthesis": oracle.random_params(nets.synthesis, networks.broadcast(w, nets.layers), noise),
    }
    assert_gradient(lambda p: gan.path_penalty(p, smooth_gan, jnp.float32(0.1), key, 2)[0], params)
