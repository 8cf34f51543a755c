"""Whole networks against the oracle: 16×16 images, few channels, other weights and latents in every layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stylegan2_oracle as oracle

from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.layers import apply
from latentfp.generators.stylegan2.networks import (
    Discriminator,
    Synthesis,
    latent_count,
    noise_sizes,
    resolutions,
)

CHANNELS, DIM, BATCH, GROUP = (5, 4, 3), 6, 4, 2
CLAMP = 0.4  # of activations with deviation one: most of them reach it
DRAW = np.random.default_rng(0)
WS = DRAW.normal(size=(BATCH, 6, DIM)).astype(np.float32)
NOISE = [DRAW.normal(size=(n, n)).astype(np.float32) for n in (4, 8, 8, 16)]
NOISE.append(DRAW.normal(size=(BATCH, 16, 16)).astype(np.float32))  # the last one for each image
IMAGES = DRAW.normal(size=(BATCH, 16, 16, 3)).astype(np.float32)
COTANGENT = DRAW.normal(size=(BATCH, 16, 16, 3)).astype(np.float32)

# The longest path to a number has five layers of about 40 additions. Each errs by at most 2⁻²⁴ of the sum of
# absolute values: 200 · 2⁻²⁴ = 1.2e-5 if all errors pointed one way, of the largest number.
DEPTH_ROUNDING = 1.2e-5
# bfloat16 rounds by up to 2⁻⁹, by 2⁻⁹/√3 in the mean square: four times a layer, in five layers 5e-3; three
# times that.
HALF_ROUNDING = 1.5e-2


def generator(**fields):
    return Synthesis(16, CHANNELS, **fields)


def critic(**fields):
    return Discriminator(16, CHANNELS, GROUP, **fields)


PARAMS = oracle.random_params(generator(), WS, NOISE)
CRITIC_PARAMS = oracle.random_params(critic(), IMAGES)


def assert_rounded(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=DEPTH_ROUNDING * np.abs(expected).max())


def random_like(tree):
    return jax.tree.map(lambda leaf: DRAW.normal(size=leaf.shape), tree)


def slope(function, point, direction, step=1e-6):
    """The directional derivative of a float64 function, by a central difference."""

    def move(sign):
        return jax.tree.map(lambda x, v: oracle.wide(x) + sign * step * v, point, direction)

    return (function(*move(1)) - function(*move(-1))) / (2 * step)


def inner(gradient, direction):
    products = jax.tree.map(lambda g, v: np.sum(oracle.wide(g) * v), gradient, direction)
    return sum(jax.tree.leaves(products))


def test_synthesis_and_its_gradient():
    def render(params, ws, noise):
        return apply(generator(), params, ws, noise)

    def weighted(*point):
        images = render(*point)
        return jnp.sum(images * COTANGENT), images

    point = (PARAMS, WS, NOISE)
    gradient, images = jax.jit(jax.grad(weighted, argnums=(0, 1, 2), has_aux=True))(*point)
    assert_rounded(images, oracle.synthesis(*point))
    direction = random_like(point)
    expected = slope(lambda *moved: np.sum(oracle.synthesis(*moved) * COTANGENT), point, direction)
    # thousands of terms that err like the images, and partly cancel
    np.testing.assert_allclose(inner(gradient, direction), expected, rtol=1e-4)


def test_discriminator_and_its_gradient():
    def weighted(params, images):
        logits = apply(critic(), params, images)
        return jnp.sum(logits * COTANGENT[:, 0, 0, 0]), logits

    point = (CRITIC_PARAMS, IMAGES)
    gradient, logits = jax.jit(jax.grad(weighted, argnums=(0, 1), has_aux=True))(*point)
    assert_rounded(logits, oracle.discriminator(*point, GROUP))
    direction = random_like(point)
    expected = slope(
        lambda *moved: np.sum(oracle.discriminator(moved[0], moved[1], GROUP) * COTANGENT[:, 0, 0, 0]),
        point,
        direction,
    )
    np.testing.assert_allclose(inner(gradient, direction), expected, rtol=1e-4)


def test_clamped_and_bfloat16_synthesis():
    clamped, half = jax.jit(
        lambda params, ws, noise: [
            apply(net, params, ws, noise) for net in (generator(clamp=CLAMP), generator(dtype=jnp.bfloat16))
        ]
    )(PARAMS, WS, NOISE)
    free = oracle.synthesis(PARAMS, WS, NOISE)
    assert_rounded(clamped, oracle.synthesis(PARAMS, WS, NOISE, CLAMP))
    assert np.abs(clamped).max() < 0.5 * np.abs(free).max()
    assert half.dtype == jnp.float32
    assert_half(half, free)


def test_clamped_and_bfloat16_discriminator():
    clamped, half = jax.jit(
        lambda params, images: [
            apply(net, params, images) for net in (critic(clamp=CLAMP), critic(dtype=jnp.bfloat16))
        ]
    )(CRITIC_PARAMS, IMAGES)
    free = oracle.discriminator(CRITIC_PARAMS, IMAGES, GROUP)
    assert_rounded(clamped, oracle.discriminator(CRITIC_PARAMS, IMAGES, GROUP, CLAMP))
    assert np.abs(clamped - free).min() > 0.01
    assert half.dtype == jnp.float32
    assert_half(half, free)


def assert_half(actual, expected):
    error = np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2))
    assert 1e-4 < error < HALF_ROUNDING  # rounded, but not more than that


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512, 1024])
def test_every_power_of_two_has_its_networks(size):
    channels = range(2, 2 + len(resolutions(size)))
    nets = model.networks(size=size, channels=channels, latent_dim=8, mapping_layers=1)
    params = jax.eval_shape(lambda: model.init(nets, jax.random.key(0)))
    noise = tuple(jax.ShapeDtypeStruct((n, n), jnp.float32) for n in noise_sizes(size))
    ws = jax.ShapeDtypeStruct((2, latent_count(size), 8), jnp.float32)
    images = jax.eval_shape(lambda *args: apply(nets.synthesis, *args), params["synthesis"], ws, noise)
    assert images.shape == (2, size, size, 3)
    assert nets.layers == 2 * np.log2(size) - 2  # 18 at 1024
    net = Discriminator(size, tuple(channels))
    judged = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), jnp.zeros(images.shape))[0])
    assert judged.shape == (2,)


@pytest.mark.parametrize("size", [0, 8, 24, 2048])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"size {size} is not a power of two from 16 to 1024"):
        model.networks(size=size, channels=(4, 4, 4))


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"got 2 channel numbers, but 16x16 has resolutions \[4, 8, 16\]"):
        model.networks(size=16, channels=(4, 4))


def test_noise_of_another_size_is_refused():
    small = [*NOISE[:3], NOISE[2], NOISE[4]]
    with pytest.raises(TypeError, match="incompatible shapes"):
        jax.eval_shape(lambda *args: apply(generator(), *args), PARAMS, WS, small)
