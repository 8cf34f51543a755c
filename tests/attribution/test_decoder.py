"""The recurrent decoder: what a look sees, and where its gradients go."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D, jacobian
from linear_subject import draw_thetas, images_at, make_subject, residuals
from small_decoder import small_decoder
from tolerances import SAME_PROGRAM

from latentfp.attribution import decoder as decoding
from latentfp.attribution.decoder import Decoder, Reading, blank, gathered
from latentfp.attribution.observation import ROUNDING
from latentfp.augment import damage

N, CONTENT = 4, D - BITS


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0)


@pytest.fixture(scope="module")
def images(subject):
    return jnp.asarray(images_at(subject, draw_thetas(N)))


@pytest.fixture(scope="module")
def small():
    return small_decoder(content=CONTENT, bits=BITS)


def iterations(subject, small, images, *, count, weights=None):
    fixed = (subject.generator, subject.params, subject.whitened, images)
    return decoding.iterate(small.decoder, small.weights if weights is None else weights, *fixed, count=count)


@pytest.fixture(scope="module")
def found(subject, small, images):
    """Readings and residuals after each of three iterations, compiled."""
    return jax.jit(lambda: iterations(subject, small, images, count=3))()


def test_patches_become_channels():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    cells = np.asarray(gathered(jnp.asarray(x, jnp.float32), 2))
    assert cells.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(cells[1, 1, 2].reshape(2, 2, 3), x[1, 2:4, 4:6])
    np.testing.assert_array_equal(gathered(jnp.asarray(x, jnp.float32), 1), x)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_sides_that_16_divides_are_read(size):
    decoder = Decoder(content=3, bits=2, channels=4, squeeze=3, width=8, blocks=1)
    image, reading = jnp.zeros((2, size, size, 3)), blank(2, content=3, bits=2)
    after, _ = jax.eval_shape(partial(decoder.init_with_output, jax.random.key(0)), image, image, reading)
    assert [part.shape for part in after] == [(2, 3), (2, 2), (2, damage.SIZE)]


def test_a_reading_begins_at_the_mean_undecided_and_undamaged(subject, images, found):
    start = blank(N, content=CONTENT, bits=BITS)
    assert all((np.asarray(part) == 0).all() for part in start)
    np.testing.assert_array_equal(decoding.thetas(start), 0)
    # The damage of strength 0 interpolates no pixel and blurs by nothing, up to float32.
    expected = residuals(subject, images, np.zeros((N, D))).reshape(images.shape)
    np.testing.assert_allclose(found[0][1], expected, atol=2e-5)


def test_a_reading_begins_at_the_content_that_an_encoder_reads(small):
    """The linear generator's encoder is the pseudo-inverse; what is left over is the code and its errors."""
    subject, theta = make_subject(size=16, sigma=2.0, encoder=True), draw_thetas(N)
    theta[0, 0] = 9.0  # farther out than the prior: cut off
    images = jnp.asarray(images_at(subject, theta))
    fixed = (subject.generator, subject.params, subject.whitened, images)
    start, shown = decoding.begin(small.decoder, *fixed)
    rest = residuals(subject, images, np.zeros((N, D)))
    content = (rest @ np.linalg.pinv(jacobian(subject.params, subject.whitened)).T)[:, :CONTENT]
    assert np.abs(content).max() > decoding.FARTHEST
    content = np.clip(content, -decoding.FARTHEST, decoding.FARTHEST)
    np.testing.assert_allclose(start.content, content, atol=1e-3)
    assert not np.asarray(start.logits).any()
    assert not np.asarray(start.damage).any()
    left = np.concatenate([content, np.zeros((N, BITS))], axis=1)
    expected = residuals(subject, images, left).reshape(images.shape)
    np.testing.assert_allclose(images - shown, expected, atol=1e-3)
    found = decoding.iterate(small.decoder, small.weights, *fixed, count=1)
    np.testing.assert_allclose(found[0][1], images - shown, atol=1e-5)


def test_an_iteration_adds_to_the_reading(small, images, found):
    first, residual = found[0]
    moves = decoding.iteration(
        small.decoder, small.weights, images, residual, blank(N, content=CONTENT, bits=BITS)
    )
    for one, other in zip(first, moves, strict=True):
        np.testing.assert_allclose(one, other, **SAME_PROGRAM)
    # With weights whose last layer says nothing, nothing is added.
    silent = {**small.weights, "move": jax.tree.map(jnp.zeros_like, small.weights["move"])}
    for one, other in zip(
        decoding.iteration(small.decoder, silent, images, residual, first), first, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_later_iteration_sees_what_the_reading_leaves_over(subject, images, found):
    for (reading, _), (_, residual) in pairwise(found):
        harms = reading.damage
        seen = decoding.rendered(subject.generator, subject.params, subject.whitened, reading)
        np.testing.assert_allclose(residual, images - seen, atol=1e-5)
        clean = decoding.rendered(
            subject.generator,
            subject.params,
            subject.whitened,
            reading._replace(damage=jnp.zeros_like(harms)),
        )
        distorted = jax.vmap(lambda x, d: damage.distort(x, damage.from_coordinates(d)))(clean, harms)
        np.testing.assert_allclose(seen, distorted, atol=1e-5)
        theta = np.concatenate([reading.content, np.tanh(np.float64(reading.logits) / 2)], axis=1)
        expected = residuals(subject, images, theta).reshape(images.shape)
        np.testing.assert_allclose(images - clean, expected, atol=2e-5)


def test_noise_and_jpeg_of_a_reading_are_not_rendered(subject, found):
    reading = found[-1][0]
    loud = reading._replace(damage=reading.damage.at[:, -2:].set(3.0))
    render = partial(decoding.rendered, subject.generator, subject.params, subject.whitened)
    np.testing.assert_array_equal(render(loud), render(reading))


def test_read_is_the_last_look_and_its_misfit(subject, small, images, found):
    reading, residual = decoding.read(
        small.decoder,
        small.weights,
        subject.generator,
        subject.params,
        subject.whitened,
        images,
        count=3,
    )
    for one, other in zip(reading, found[-1][0], strict=True):
        np.testing.assert_allclose(one, other, **SAME_PROGRAM)
    rms = np.sqrt(np.mean(np.square(np.float64(found[-1][1])), axis=(1, 2, 3)))
    np.testing.assert_allclose(residual, rms / ROUNDING, rtol=1e-5)


def test_an_image_is_read_alone(subject, small, images, found):
    alone = iterations(subject, small, images[2:3], count=3)[-1][0]
    for one, other in zip(alone, found[-1][0], strict=True):
        np.testing.assert_allclose(one[0], other[2], **SAME_PROGRAM)


def test_gradients_do_not_flow_through_earlier_iterations(subject, small, images, found):
    """The gradient of the last reading is that of one iteration on a given residual and reading."""

    def total(reading):
        return sum(jnp.sum(jnp.sin(part)) for part in reading)

    def of_last(weights):
        return total(iterations(subject, small, images, count=3, weights=weights)[-1][0])

    def of_one(weights):
        return total(decoding.iteration(small.decoder, weights, images, found[2][1], found[1][0]))

    last, one_more = jax.jit(jax.grad(of_last))(small.weights), jax.jit(jax.grad(of_one))(small.weights)
    for one, other in zip(jax.tree.leaves(last), jax.tree.leaves(one_more), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)  # sums of 16² cells in another order


def test_thetas_put_bits_between_their_levels():
    """tanh(llr / 2) is the mean of a bit of levels -1 and 1."""
    logits = np.array([[-50.0, -1.0, 0.0, 2.0]])
    reading = Reading(jnp.ones((1, 3)), jnp.asarray(logits, jnp.float32), jnp.zeros((1, damage.SIZE)))
    set_with = 1 / (1 + np.exp(-logits))
    expected = np.concatenate([np.ones((1, 3)), 2 * set_with - 1], axis=1)
    np.testing.assert_allclose(decoding.thetas(reading), expected, atol=1e-6)
