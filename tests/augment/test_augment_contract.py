"""What every image operation promises. A new operation is one row of OPERATIONS and inherits all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradient

from latentfp import rng
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.geometry import crop_and_resize, random_crop_and_resize
from latentfp.augment.jpeg import jpeg, paper_jpeg
from latentfp.augment.noise import gaussian_noise
from latentfp.pixels import round_to_8bit

# name: (operation on (key, image, strength), strength)
OPERATIONS = {
    "blur": (lambda _, x, s: gaussian_blur(x, sigma=s), 0.8),
    "small kernel": (lambda _, x, s: gaussian_blur(x, sigma=s, kernel_size=5), 1.5),
    "noise": (lambda key, x, s: gaussian_noise(key, x, std=s), 0.1),
    "crop": (lambda _, x, s: crop_and_resize(x, scale=s), 0.8),
    "random crop": (lambda key, x, s: random_crop_and_resize(key, x, scale=s), 0.6),
    "jpeg": (lambda _, x, s: jpeg(x, quality=s), 50.0),
    "jpeg 4:4:4": (lambda _, x, s: jpeg(x, quality=s, subsampling="4:4:4"), 80.0),
    "paper_jpeg": (lambda _, x, s: paper_jpeg(x, quality=s), 50.0),
    "8 bits": (lambda _, x, s: round_to_8bit(s * x), 0.9),
}
COMPILED = {name: jax.jit(operation) for name, (operation, _) in OPERATIONS.items()}
RANDOM = {"noise", "random crop"}
SMOOTH = {"blur", "small kernel", "noise", "crop", "random crop"}
# JPEG jumps where a coefficient crosses a half. Another order of sums may push one across, and then an 8×8
# block (16×16 for chroma) differs: a few pixels may differ by any amount.
JUMPS = {"jpeg": 0.1, "jpeg 4:4:4": 0.1, "paper_jpeg": 0.1}
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


@pytest.mark.parametrize("smooth", sorted(SMOOTH))
def test_the_gradient_is_that_of_finite_differences(smooth, image):
    operation, number = OPERATIONS[smooth]
    assert_gradient(lambda x: operation(jax.random.key(5), x, number), 0.3 * image[:16, :24])
