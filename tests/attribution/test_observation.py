"""How images are compared: what is seen after which damage, and how well each number of it is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject

from latentfp.attribution.descent import Start, descend
from latentfp.attribution.observation import DAMAGED, ROUNDING, SMOOTH, SPREAD, UNDAMAGED, is_damaged
from latentfp.attribution.refine import Model, Settings
from latentfp.augment import damage
from latentfp.augment.codecs import coefficient_errors, coefficients, libjpeg
from latentfp.augment.damage import Damage
from latentfp.pixels import to_float, to_pixels

PIXELS = 16 * 16 * 3
N = 3  # images of each damage
SETTINGS = Settings(steps=10, inner=6)
DAMAGES = {
    "blur": Damage(blur=1.0),
    "brightness": Damage(brightness=0.6),
    "crop": Damage(scale=0.8, down=0.05),
    "JPEG": Damage(quality=75.0),
    "mixture": Damage(blur=0.6, contrast=1.3, quality=85.0),
}


def harms_of(*damages):
    return jnp.stack([damage.coordinates(one) for one in damages])


def of_name(name, value):
    return damage.coordinates(Damage(**{name: value}))


def test_the_fitted_damages_are_the_smooth_ones():
    assert Damage._fields[:SMOOTH] == tuple(
        name for name in Damage._fields if name not in ("noise", "quality")
    )
    assert len(SPREAD) == SMOOTH == DAMAGED.free
    assert UNDAMAGED.free == 0


class TestErrors:
    SHAPE = (16, 16, 3)

    def test_of_undamaged_files_is_rounding(self):
        found = UNDAMAGED.errors(self.SHAPE, harms_of(damage.NONE)[0])
        np.testing.assert_allclose(found, np.full(PIXELS, 2 / 255 / np.sqrt(12)), rtol=1e-6)

    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_of_damaged_files_is_rounding_and_noise_of_pixels(self, noise):
        found = np.asarray(DAMAGED.errors(self.SHAPE, of_name("noise", noise)))
        np.testing.assert_allclose(found[:PIXELS], np.hypot(ROUNDING, noise), rtol=1e-5)
        assert np.isinf(found[PIXELS:]).all()

    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_of_jpeg_is_that_of_its_coefficients(self, noise):
        harm = damage.coordinates(Damage(quality=50.0, noise=noise))
        found = np.asarray(DAMAGED.errors(self.SHAPE, harm))
        assert np.isinf(found[:PIXELS]).all()
        stated = np.asarray(coefficient_errors(16, 16, quality=50), np.float64) / 127.5
        np.testing.assert_allclose(found[PIXELS:], np.sqrt(stated**2 + ROUNDING**2 + noise**2), rtol=1e-5)


class TestSeen:
    @pytest.fixture(scope="class")
    def image(self):
        return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (16, 16, 3)), jnp.float32)

    def test_target_is_pixels_and_coefficients(self, image):
        np.testing.assert_array_equal(UNDAMAGED.target(image), image.reshape(-1))
        seen = DAMAGED.target(image)
        np.testing.assert_array_equal(seen[:PIXELS], image.reshape(-1))
        np.testing.assert_allclose(seen[PIXELS:], coefficients(image) / 127.5, rtol=1e-6)

    def test_undamaged_renders_are_seen_as_they_are(self, image):
        nothing = harms_of(damage.NONE)[0]
        np.testing.assert_array_equal(UNDAMAGED.of(image, nothing, jnp.zeros(0)), image.reshape(-1))

    def test_moves_are_in_spreads(self, image):
        assumed = damage.coordinates(Damage(blur=0.8, brightness=1.2, quality=70.0))
        move = jnp.asarray(np.random.default_rng(2).normal(size=SMOOTH), jnp.float32)
        meant = assumed.at[:SMOOTH].add(jnp.asarray(SPREAD) * move)
        expected = DAMAGED.target(damage.distort(image, damage.from_coordinates(meant)))
        np.testing.assert_allclose(DAMAGED.of(image, assumed, move), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("degrees", -1.0, -2.0),
        ("scale", 0.97, 0.95),
        ("down", 0.01, -0.03),
        ("right", -0.01, 0.03),
        ("blur", 0.1, 0.2),
        ("brightness", 1.05, 0.9),
        ("contrast", 0.96, 1.2),
        ("quality", 96.0, 94.0),
    ],
)
def test_damage_counts_where_it_can_be_seen(name, weak, strong):
    distortions = np.stack([of_name(name, weak), of_name(name, strong)])
    np.testing.assert_array_equal(is_damaged(distortions), [False, True])


def test_noise_alone_is_no_other_comparison():
    np.testing.assert_array_equal(
        is_damaged(np.asarray(harms_of(damage.NONE, Damage(noise=0.4)))), [False, False]
    )


class TestDescentsThroughDamage:
    """Damaged images are explained better with the damage inside the model than without."""

    @pytest.fixture(scope="class")
    def subject(self):
        return make_subject(size=16, sigma=4.0)

    @pytest.fixture(scope="class")
    def damaged(self, subject):
        """Images [5 · 3] of each damage after the other; JPEG is that of libjpeg."""
        parts = []
        clean = jnp.asarray(images_at(subject, draw_thetas(N)))
        for harm in DAMAGES.values():
            smooth = jax.vmap(partial(damage.distort, damage=harm._replace(quality=100.0)))(clean)
            pixels = np.asarray(to_pixels(smooth))
            if harm.quality < 100:
                pixels = np.stack([libjpeg(image, quality=int(harm.quality)) for image in pixels])
            parts.append(to_float(pixels))
        return np.concatenate(parts)

    def descents(self, subject, how, damaged, harms):
        model = Model(subject.params, subject.whitened, subject.curvature())
        start = Start(damaged, np.asarray(harms), np.zeros((len(damaged), D), np.float32))
        return descend(how, subject, model, SETTINGS, start, lambda _: None)

    @pytest.fixture(scope="class")
    def harms(self):
        return np.repeat(np.asarray(harms_of(*DAMAGES.values())), N, axis=0)

    @pytest.fixture(scope="class")
    def through(self, subject, damaged, harms):
        return self.descents(subject, DAMAGED, damaged, harms)

    def errors(self, found):
        """Of the code's coordinates: root mean squares of each damage."""
        truth = np.tile(draw_thetas(N), (len(DAMAGES), 1))
        error = np.square(found.point[:, :D] - truth)[:, -BITS:].reshape(len(DAMAGES), -1)
        return dict(zip(DAMAGES, np.sqrt(error.mean(axis=1)), strict=True))

    def test_codes_are_known_better(self, subject, damaged, harms, through):
        inside = self.errors(through)
        outside = self.errors(self.descents(subject, UNDAMAGED, damaged, np.zeros_like(harms)))
        for name in DAMAGES:
            assert inside[name] < 0.5 * outside[name], (name, inside, outside)

    def test_what_was_assumed_right_stays(self, through):
        assert np.abs(through.point[:, D:]).max() < 0.5  # spreads

    def test_a_damage_that_was_assumed_wrong_is_fitted(self, subject, damaged, harms):
        rows = np.arange(2 * N)  # blur and brightness
        wrong = harms[rows].copy()
        names = np.repeat([Damage._fields.index("blur"), Damage._fields.index("brightness")], N)
        shift = np.array(SPREAD)[names]
        wrong[rows, names] += shift
        found = self.descents(subject, DAMAGED, damaged[rows], wrong)
        left = wrong[rows, names] + shift * found.point[:, D:][rows, names] - harms[rows, names]
        assert (np.abs(left) < 0.3 * shift).all()
