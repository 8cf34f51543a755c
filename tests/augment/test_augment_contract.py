"""What every image operation promises. A new operation is one row of OPERATIONS and inherits all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient

from latentfp import rng
from latentfp.augment.adversarial import ascend, away_from
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.colour import brightness, contrast, hue, saturation
from latentfp.augment.damage import Damage, distort, inflict
from latentfp.augment.erase import random_erase
from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize, rotate, warp
from latentfp.augment.jpeg import jpeg, paper_jpeg
from latentfp.augment.noise import gaussian_noise, poisson, salt_and_pepper, speckle
from latentfp.augment.overlay import overlay, strokes
from latentfp.augment.perspective import perspective, random_perspective
from latentfp.augment.resize import shrink_and_enlarge
from latentfp.augment.sharpness import sharpness
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
    "paper_jpeg": (lambda _, x, s: paper_jpeg(x, quality=s), 50.0),
    "8 bits": (lambda _, x, s: round_to_8bit(s * x), 0.9),
}
COMPILED = {name: jax.jit(operation) for name, (operation, _) in OPERATIONS.items()}
RANDOM = {"noise", "random crop", "erasing", "inflict", "random perspective", "strokes", "speckle", "poisson"}
RANDOM |= {"salt and pepper", "ascent"}
SMOOTH = OPERATIONS.keys() - {"inflict", "jpeg", "jpeg 4:4:4", "paper_jpeg", "8 bits", "poisson", "ascent"}
# JPEG jumps where a coefficient crosses a half. Another order of sums may push one across, and then an 8×8
# block (16×16 for chroma) differs: a few pixels may differ by any amount.
JUMPS = {"inflict": 0.1, "jpeg": 0.1, "jpeg 4:4:4": 0.1, "paper_jpeg": 0.1}
# A position below 64 in float32 is exact to 4e-6, and neighbouring pixels differ by at most 2.
SAME = 2e-5
H, W = 48, 32


@pytest.fixture
def image():
    return jax.random.uniform(jax.random.key(3), (H, W, 3), minval=-1.0, maxval=1.0)


@pytest.fixture(params=OPERATIONS, ids=str)
def name(request):
    return request.param


@pytest.fixture
def strength(name):
    return jnp.float32(OPERATIONS[name][1])


def assert_same(name, got, expected):
    far = np.abs(got - expected) > SAME
    assert far.mean() <= JUMPS.get(name, 0), f"{far.mean():.1%} of the values differ"


def test_shape_type_and_range_are_kept(name, key, image, strength):
    attacked = COMPILED[name](key, image, strength)
    assert attacked.shape == (H, W, 3)
    assert attacked.dtype == jnp.float32
    assert np.abs(attacked).max() <= 1 + 1e-6, "the operations are averages or limited"
    assert not np.allclose(attacked, image, atol=1e-3), "the operation must do something"


def test_the_key_and_nothing_else_decides(name, key, image, strength):
    first, again, other = (
        COMPILED[name](rng.stream(key, stream), image, strength) for stream in ("a", "a", "b")
    )
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name not in RANDOM)


def test_compiled_with_a_traced_strength_is_eager_with_a_number(name, key, image, strength):
    operation, number = OPERATIONS[name]
    eager = operation(rng.stream(key, "a"), image, number)
    assert_same(name, COMPILED[name](rng.stream(key, "a"), image, strength), eager)


def test_a_batch_is_a_loop(name, key, image, strength):
    images = jnp.stack([image, -image, jnp.zeros_like(image)])
    strengths = strength * jnp.asarray([1.0, 0.9, 0.8])
    keys = jax.vmap(lambda index: rng.stream(key, "a", index))(jnp.arange(3))
    batch = jax.jit(jax.vmap(OPERATIONS[name][0]))(keys, images, strengths)
    for index, together in enumerate(batch):
        alone = COMPILED[name](rng.stream(key, "a", index), images[index], strengths[index])
        assert_same(name, together, alone)


def test_another_strength_compiles_nothing_new(name, key, image, strength):
    traces = []

    @jax.jit
    def compiled(key, image, strength):
        traces.append(strength)
        return OPERATIONS[name][0](key, image, strength)

    weaker, stronger = (compiled(rng.stream(key, "a"), image, f * strength) for f in (0.9, 1.0))
    assert len(traces) == 1
    assert not np.array_equal(weaker, stronger)


@pytest.mark.parametrize("shape", [(1, 1), (13, 1)], ids=str)
def test_any_size_is_kept(name, key, strength, shape):
    attacked = COMPILED[name](key, jnp.full((*shape, 3), 0.4), strength)
    assert attacked.shape == (*shape, 3)
    assert np.abs(attacked).max() <= 1 + 1e-6


@pytest.mark.parametrize("smooth", sorted(SMOOTH))
def test_the_gradient_is_that_of_finite_differences(smooth, image):
    operation, number = OPERATIONS[smooth]
    assert_gradient(lambda x: operation(jax.random.key(5), x, number), 0.3 * image[:16, :24])
