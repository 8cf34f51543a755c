"""What every image operation promises. A new operation is one row of OPERATIONS and inherits all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient

from latentfp import rng
from latentfp.augment.blur import gaussian_blur, sharpness
from latentfp.augment.codecs import jpeg
from latentfp.augment.colour import brightness, contrast, hue, saturation
from latentfp.augment.damage import Damage, distort, inflict
from latentfp.augment.geometry import (
    crop_and_resize,
    perspective,
    random_crop_and_resize,
    random_perspective,
    rotate,
    shrink_and_enlarge,
    warp,
)
from latentfp.augment.learned import ascend, away_from
from latentfp.augment.noise import gaussian_noise, poisson, salt_and_pepper, speckle
from latentfp.augment.overlay import overlay, random_erase, strokes
from latentfp.pixels import round_to_8bit

RED = jnp.asarray([1.0, -1.0, -1.0])
QUADRANGLE = ((0.05, 0.1), (0.9, 0.02), (1.0, 0.95), (0.1, 0.85))

# name: (operation on (key, image, strength), strength)
OPERATIONS = {
    "blur": (lambda _, x, s: gaussian_blur(x, sigma=s), 0.8),
    "small kernel": (lambda _, x, s: gaussian_blur(x, sigma=s, kernel_size=5), 1.5),
    "noise": (lambda key, x, s: gaussian_noise(key, x, std=s), 0.1),
    "crop": (lambda _, x, s: crop_and_resize(x, scale=s), 0.8),
    "random crop": (lambda key, x, s: random_crop_and_resize(key, x, scale=s), 0.6),
    "warp": (lambda _, x, s: warp(x, degrees=7.0, scale=s, shift=(0.03, -0.02)), 0.8),
    "rotation": (lambda _, x, s: rotate(x, degrees=s), -11.0),
    "resize": (lambda _, x, s: shrink_and_enlarge(x, scale=s), 0.6),
    "perspective": (lambda _, x, s: perspective(x, corners=s * jnp.asarray(QUADRANGLE)), 0.9),
    "random perspective": (lambda key, x, s: random_perspective(key, x, distortion=s), 0.4),
    "brightness": (lambda _, x, s: brightness(x, factor=s), 1.2),
    "contrast": (lambda _, x, s: contrast(x, factor=s), 1.2),
    "saturation": (lambda _, x, s: saturation(x, factor=s), 1.3),
    "hue": (lambda _, x, s: hue(x, turn=s), 0.2),
    "sharpness": (lambda _, x, s: sharpness(x, factor=s), 0.4),
    "overlay": (lambda _, x, s: overlay(x, colour=s * RED, opacity=jnp.full(x.shape[:2], 0.5)), 0.8),
    "strokes": (lambda key, x, s: strokes(key, x, count=3, width=s, parts=4, reach=0.25), 3.0),
    "speckle": (lambda key, x, s: speckle(key, x, std=s), 0.2),
    "poisson": (lambda key, x, s: poisson(key, x, peak=s), 30.0),
    "salt and pepper": (lambda key, x, s: salt_and_pepper(key, x, amount=s), 0.3),
    "ascent": (lambda key, x, s: ascend(key, x, gain=away_from(jnp.sin, x), radius=s, steps=4), 0.1),
    "erasing": (lambda key, x, s: random_erase(key, x, area=s, aspect=0.5), 0.2),
    "distort": (lambda _, x, s: distort(x, Damage(3.0, 0.8, 0.02, -0.03, s, 0.9, 1.1)), 0.8),
    "inflict": (lambda key, x, s: inflict(key, x, Damage(scale=0.9, blur=0.5, noise=s, quality=60.0)), 0.1),
    "jpeg": (lambda _, x, s: jpeg(x, quality=s), 50.0),
    "jpeg 4:4:4": (lambda _, x, s: jpeg(x, quality=s, subsampling="4:4:4"), 80.0),
    "8 bits": (lambda _, x, s: round_to_8bit(s * x), 0.9),
}
RANDOM = {"noise", "random crop", "erasing", "inflict", "random perspective", "strokes", "speckle", "poisson"}
RANDOM |= {"salt and pepper", "ascent"}
SMOOTH = OPERATIONS.keys() - {"inflict", "jpeg", "jpeg 4:4:4", "8 bits", "poisson", "ascent"}
# JPEG jumps where a coefficient crosses a half. Another order of sums may push one across, and then an 8×8
# block (16×16 for chroma) differs: a few pixels may differ by any amount.
JUMPS = {"inflict": 0.1, "jpeg": 0.1, "jpeg 4:4:4": 0.1}
# A position below 64 in float32 is exact to 4e-6, and neighbouring pixels differ by at most 2.
SAME = 2e-5
H, W = 48, 32
SMALL = ((1, 1), (13, 1))


class Operation:
    """One row, compiled once for all tests that call it with an image of one shape; counts its tracings."""

    def __init__(self, name: str):
        self.name, self.traces = name, 0
        self.eager, self.number = OPERATIONS[name]
        self.strength = jnp.float32(self.number)
        self.compiled = jax.jit(self._traced)

    def _traced(self, key, image, strength):
        self.traces += 1
        return self.eager(key, image, strength)


@pytest.fixture(scope="module")
def image():
    return jax.random.uniform(jax.random.key(3), (H, W, 3), minval=-1.0, maxval=1.0)


@pytest.fixture(scope="module", params=OPERATIONS, ids=str)
def operation(request):
    return Operation(request.param)


def assert_same(operation, got, expected):
    far = np.abs(got - expected) > SAME
    assert far.mean() <= JUMPS.get(operation.name, 0), f"{far.mean():.1%} of the values differ"


def test_shape_type_and_range_are_kept(operation, key, image):
    attacked = operation.compiled(key, image, operation.strength)
    assert attacked.shape == (H, W, 3)
    assert attacked.dtype == jnp.float32
    assert np.abs(attacked).max() <= 1 + 1e-6, "the operations are averages or limited"
    assert not np.allclose(attacked, image, atol=1e-3), "the operation must do something"


def test_the_key_and_nothing_else_decides(operation, key, image):
    first, again, other = (
        operation.compiled(rng.stream(key, stream), image, operation.strength) for stream in ("a", "a", "b")
    )
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (operation.name not in RANDOM)


def test_compiled_with_a_traced_strength_is_eager_with_a_number(operation, key, image):
    eager = operation.eager(rng.stream(key, "a"), image, operation.number)
    assert_same(operation, operation.compiled(rng.stream(key, "a"), image, operation.strength), eager)


def test_another_strength_compiles_nothing_new(operation, key, image):
    weaker, stronger = (
        operation.compiled(rng.stream(key, "a"), image, factor * operation.strength) for factor in (0.9, 1.0)
    )
    assert operation.traces == 1, "in all tests so far"
    assert not np.array_equal(weaker, stronger)


def test_a_batch_is_a_loop(operation, key, image):
    images = jnp.stack([image, -image, jnp.zeros_like(image)])
    strengths = operation.strength * jnp.asarray([1.0, 0.9, 0.8])
    keys = jax.vmap(lambda index: rng.stream(key, "a", index))(jnp.arange(3))
    batch = jax.jit(jax.vmap(operation.eager))(keys, images, strengths)
    for index, together in enumerate(batch):
        alone = operation.compiled(rng.stream(key, "a", index), images[index], strengths[index])
        assert_same(operation, together, alone)


def test_any_size_is_kept(operation, key):
    greys = [jnp.full((*shape, 3), 0.4) for shape in SMALL]
    keys = [rng.stream(key, "size", index) for index in range(len(SMALL))]

    @jax.jit
    def together(keys, images, strength):
        return [operation.eager(one, image, strength) for one, image in zip(keys, images, strict=True)]

    for shape, attacked in zip(SMALL, together(keys, greys, operation.strength), strict=True):
        assert attacked.shape == (*shape, 3)
        assert np.abs(attacked).max() <= 1 + 1e-6


@pytest.mark.parametrize("smooth", sorted(SMOOTH))
def test_the_gradient_is_that_of_finite_differences(smooth, image):
    operation, number = OPERATIONS[smooth]
    assert_gradient(lambda x: operation(jax.random.key(5), x, number), 0.3 * image[:16, :24])
