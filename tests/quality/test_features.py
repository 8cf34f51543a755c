"""Features of many images are those of each one; random ones are of the stated network, and sensible."""

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.augment.blur import gaussian_blur
from latentfp.pixels import to_float
from latentfp.quality.distribution import frechet_distance
from latentfp.quality.features import RANDOM, Embedding, features, random_features

compiled = jax.jit(jax.vmap(random_features))
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)
PINNED = [0.3627950, 0.4276356, 0.2998043, 0.1706052]  # of 0, 31, 32 and 95, for a checkerboard of 0 and 1


def shapes(n, *, seed, size=32):
    """Images of a few coloured discs."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    images = np.broadcast_to(draw.uniform(-1, 1, (n, 1, 1, 3)), (n, size, size, 3)).astype(np.float32)
    for image in images:
        for row, column, radius in draw.uniform(0.1, [0.9, 0.9, 0.4], (4, 3)):
            image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = draw.uniform(-1, 1, 3)
    return jnp.asarray(images)


def restated(image):
    """The network in float64, filter by filter."""

    def stage(x, channels, number, centred):
        kernel = np.random.default_rng([2020, number]).standard_normal((3, 3, x.shape[2], channels))
        kernel = kernel - kernel.mean((0, 1)) if centred else kernel
        kernel *= np.sqrt(2 / (9 * x.shape[2]))
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        h, w, _ = x.shape
        windows = [padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3)]
        return np.maximum(np.sum(windows, axis=0), 0)

    fine = stage(image.astype(np.float64), 32, 0, True)
    halved = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4
    return np.concatenate([fine.mean((0, 1)), stage(halved, 64, 1, False).mean((0, 1))])


def test_the_network_is_the_one_described():
    images = np.random.default_rng(1).uniform(-1, 1, (2, 12, 16, 3)).astype(np.float32)
    ours = compiled(images)
    assert ours.shape == (2, 96)
    np.testing.assert_allclose(ours, [restated(image) for image in images], rtol=1e-5, atol=1e-6)


def test_the_weights_never_change():
    """Numbers of another release must compare with today's."""
    board = np.indices((8, 8)).sum(0) % 2
    image = jnp.asarray(np.repeat(board[:, :, None], 3, axis=2), jnp.float32)
    np.testing.assert_allclose(random_features(image)[np.array([0, 31, 32, 95])], PINNED, rtol=1e-5)


def test_the_distance_grows_with_noise_and_with_blur():
    real, others = shapes(200, seed=0), shapes(200, seed=1)
    noise = jax.random.normal(jax.random.key(0), others.shape)

    def distance(images):
        return frechet_distance(np.asarray(compiled(real)), np.asarray(compiled(images)))

    noisy = [distance(others + std * noise) for std in (0.0, 0.02, 0.1)]
    blurred = [distance(jax.vmap(lambda x, s=s: gaussian_blur(x, sigma=s))(others)) for s in (0.5, 1.0, 2.0)]
    assert noisy == sorted(noisy)
    assert [noisy[0], *blurred] == sorted([noisy[0], *blurred])
    assert min(noisy[1], blurred[0]) > 1.5 * noisy[0], (
        "2.5 grey levels of noise stand out of 200 images' own scatter"
    )


def test_batches_make_no_difference():
    def corner(params, image):
        return params["gain"] * image[0, 0]

    found = features(Embedding(corner, {"gain": jnp.float32(2)}, batch=3), PIXELS)
    np.testing.assert_array_equal(found, 2 * to_float(PIXELS)[:, 0, 0])


def test_random_features_need_no_parameters():
    expected = [random_features(jnp.asarray(image)) for image in to_float(PIXELS)]
    np.testing.assert_allclose(features(RANDOM, PIXELS), expected, rtol=1e-5, atol=1e-6)
