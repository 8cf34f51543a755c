"""Mirrored and turned images, on a linear generator and with a decoder that knows upright ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject

from latentfp import rng
from latentfp.attribution import cascade, registration
from latentfp.attribution.cascade import Budget, Cascade
from latentfp.attribution.estimate import Estimate, answer, numbered
from latentfp.attribution.orientation import UPRIGHT, Orientation, orientations, turned, upright
from latentfp.attribution.refine import SOLVED
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Method, Stage

SQUARE = orientations(16, 16)
STAGES = (Stage.DECODER, Stage.REFINE, Stage.MULTISTART)
N = 3


def test_a_square_has_eight_and_another_rectangle_four():
    assert len(set(SQUARE)) == 8
    assert [str(it) for it in orientations(8, 16)] == [
        "upright",
        "turned by 180 degrees counter-clockwise",
        "mirrored",
        "mirrored and turned by 180 degrees counter-clockwise",
    ]


def test_images_are_mirrored_and_then_turned_counter_clockwise():
    image = np.array([[[0, 1], [2, 3]]])[..., None] * np.ones(3)
    np.testing.assert_array_equal(turned(image, Orientation(False, 90))[0, ..., 0], [[1, 3], [0, 2]])
    np.testing.assert_array_equal(turned(image, Orientation(True, 90))[0, ..., 0], [[0, 2], [1, 3]])


@pytest.mark.parametrize("way", SQUARE, ids=str)
def test_upright_undoes_it(way):
    images = np.random.default_rng(1).normal(size=(2, 16, 16, 3))
    np.testing.assert_array_equal(upright(turned(images, way), way), images)


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0)


@pytest.fixture
def reader(subject, monkeypatch, request):
    """A decoder that reads the contents of upright images to within 0.3, with no bits at all. It knows them
    undamaged, and damaged as the test asks."""
    theta = draw_thetas(N)
    images = images_at(subject, theta)
    parts = Damage(), *getattr(request, "param", ())
    known = np.concatenate([befallen(images, part) for part in parts])

    def read(_cascade, shown, _ids, _previous, _progress):
        n = len(shown)
        left = np.sqrt(np.square(shown[:, None] - known[None]).mean(axis=(2, 3, 4))) * 500 + 5
        part, mine = np.divmod(left.argmin(axis=1), N)
        content = (theta[mine, :-BITS] + 0.3) * np.asarray(subject.space.content_stds)
        logits = np.zeros((n, BITS), np.float32)
        estimate = Estimate(logits > 0, logits, content, left.min(axis=1), np.zeros(n, int), logits)
        distortion = np.stack([damage.coordinates(parts[it]) for it in part])
        return answer(estimate, Stage.DECODER, passes=2, iterations=3, distortion=distortion)

    monkeypatch.setattr(cascade, "_decoder", read)
    return theta, images


def again(subject, images, *, known=None):
    """The answer of the last stage to images that a descent from nothing did not explain."""
    logits, n = np.zeros((len(images), BITS), np.float32), len(images)
    lost = Estimate(logits > 0, logits, np.zeros((n, D - BITS)), np.full(n, 90.0), np.zeros(n, int), logits)
    made = Cascade(Method.AUTO, STAGES, subject, object(), Budget(), rng.root(0), known=known)  # type: ignore
    heard = []
    previous = answer(lost, Stage.REFINE, passes=0)
    found = cascade.RUN[Stage.MULTISTART](made, images, numbered(0, n), previous, heard.append)
    assert sum(heard) == made.work(Stage.MULTISTART) * n
    return found


@pytest.mark.parametrize("number", range(8))
def test_a_turned_image_is_explained_as_it_was_made(subject, reader, number):
    theta, images = reader
    found = again(subject, turned(images, SQUARE[number]))
    np.testing.assert_array_equal(found.orientation, number)
    np.testing.assert_array_equal(found.estimate.code, theta[:, -BITS:] > 0)
    assert (np.asarray(found.estimate.loss) < SOLVED).all()
    np.testing.assert_array_equal(found.iterations, 2 * 8 * 3)
    assert (found.passes > 2 * 8 * 3).all()


def test_each_image_has_its_own_orientation(subject, reader):
    _, images = reader
    mixed = images.copy()
    mixed[1] = turned(images[1:2], SQUARE[6])[0]
    np.testing.assert_array_equal(again(subject, mixed).orientation, [UPRIGHT, 6, UPRIGHT])


def test_where_the_damage_is_known_nothing_is_turned(subject, reader):
    _, images = reader
    known = np.zeros(9, np.float32)
    found = again(subject, turned(images, SQUARE[5]), known=known)
    np.testing.assert_array_equal(found.orientation, UPRIGHT)
    np.testing.assert_array_equal(found.iterations, 0)


def befallen(images, made, *, frame=None):
    """Images after a damage; `frame`: the colour of what is beyond the image, black otherwise."""
    shown = jax.vmap(lambda image: damage.distort(image, made))(jnp.asarray(images))
    if frame is not None:
        beyond = jax.vmap(lambda image: damage.distort(image, made))(jnp.ones_like(shown))[..., :1] < 0.99
        shown = jnp.where(beyond, jnp.asarray(frame), shown)
    return np.asarray(shown, np.float32)


@pytest.mark.parametrize("reader", [[Damage(scale=registration.PART)]], indirect=True, ids=["parts"])
@pytest.mark.parametrize("degrees", [45.0, 130.0])
def test_an_image_may_be_turned_by_any_angle(subject, reader, degrees):
    theta, images = reader
    found = again(subject, befallen(images, Damage(degrees=degrees)))
    np.testing.assert_array_equal(found.estimate.code, theta[:, -BITS:] > 0)
    quarters = np.array([SQUARE[number].degrees for number in found.orientation])
    np.testing.assert_allclose(10 * found.distortion[:, 0] + quarters, degrees, atol=0.5)
    assert not found.hidden.any()


def test_an_image_may_be_smaller_within_a_frame(subject, reader):
    theta, images = reader
    made = Damage(scale=1.25, down=0.125)
    found = again(subject, befallen(images, made, frame=[0.5, -0.2, 0.1]))
    np.testing.assert_array_equal(found.estimate.code, theta[:, -BITS:] > 0)
    np.testing.assert_allclose(1 - found.distortion[:, 1] / 4, made.scale, atol=0.02)
    np.testing.assert_array_equal(found.orientation, UPRIGHT)
    assert found.hidden.any(axis=(1, 2)).all()
