"""The four stages on a linear generator of 16×16 images, with a decoder that nobody trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_search import energy
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject, residuals
from small_decoder import small_decoder
from tolerances import SAME_PROGRAM

from latentfp import rng
from latentfp.attribution import ends, reference, rungs
from latentfp.attribution.estimate import Status, select
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.refine import SOLVED, Settings, passes
from latentfp.augment import damage
from latentfp.choices import Stage

pytestmark = pytest.mark.usefixtures("quick_compile")
N, LOOKS = 5, 3
SETTINGS = Settings(steps=6, inner=2)
SHORT = reference.STYLEGAN2._replace(starts=2, steps=60, decay=0.05)
NUMBERS = np.arange(10, 10 + N)
MOST = 1 + SETTINGS.steps * (3 + 2 * SETTINGS.inner)  # passes of a descent
NO_DAMAGE = np.zeros(damage.SIZE, np.float32)


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0)


@pytest.fixture(scope="module")
def theta():
    return draw_thetas(N)


@pytest.fixture(scope="module")
def images(subject, theta):
    return images_at(subject, theta)


@pytest.fixture(scope="module")
def decoder():
    return small_decoder(content=D - BITS, bits=BITS, looks=LOOKS)


def run(rung, images, *, below=None, numbers=NUMBERS):
    """The answer, and the progress that was heard for each image."""
    heard = []
    found = rung.run(images, numbers, below, heard.append)
    assert sum(heard) == rung.work * len(images)
    return found


@pytest.fixture(scope="module")
def reading(subject, decoder, images):
    rung = rungs.decoder_rung(subject, decoder.decoder, decoder.weights, looks=LOOKS)
    return run(rung, images)


class TestDecoder:
    def test_says_what_it_read_and_cost(self, subject, reading):
        assert reading.estimate.code.shape == reading.estimate.logits.shape == (N, BITS)
        assert reading.estimate.content.shape == (N, D - BITS)
        assert reading.damage.shape == (N, damage.SIZE)
        np.testing.assert_array_equal(reading.estimate.code, reading.estimate.logits > 0)
        np.testing.assert_array_equal(reading.stage, Stage.DECODER)
        np.testing.assert_array_equal(reading.looks, LOOKS)
        np.testing.assert_array_equal(reading.passes, LOOKS - 1)  # the first look is at the mean
        np.testing.assert_array_equal(reading.estimate.status, Status.OK)
        # Content leaves in the latent's units: nobody reads more than a few deviations.
        assert (np.abs(reading.estimate.content) < 3 * subject.space.content_stds[None]).all()

    def test_its_loss_is_the_misfit_of_the_last_look(self, subject, decoder, images):
        """One look sees what the mean of the prior leaves over."""
        found = run(rungs.decoder_rung(subject, decoder.decoder, decoder.weights, looks=1), images)
        rms = np.sqrt(np.mean(residuals(subject, images, np.zeros((N, D))) ** 2, axis=1))
        np.testing.assert_allclose(found.estimate.loss, rms / ROUNDING, rtol=1e-5)

    def test_batches_cannot_be_seen(self, subject, decoder, images, reading, monkeypatch):
        monkeypatch.setattr(rungs, "BATCH", 2)
        rung = rungs.decoder_rung(subject, decoder.decoder, decoder.weights, looks=LOOKS)
        for one, other in zip(run(rung, images).estimate, reading.estimate, strict=True):
            np.testing.assert_allclose(one, other, **SAME_PROGRAM)

    def test_a_reading_that_is_not_finite_is_a_status(self, subject, decoder, images):
        broken = jax.tree.map(lambda leaf: leaf * jnp.nan, decoder.weights)
        found = run(rungs.decoder_rung(subject, decoder.decoder, broken, looks=2), images)
        np.testing.assert_array_equal(found.estimate.status, Status.NONFINITE)


class TestRefine:
    @pytest.fixture(scope="class")
    def refined(self, subject, images, reading):
        return run(rungs.refine_rung(subject, settings=SETTINGS, known=None), images, below=reading)

    def test_finds_codes_and_contents(self, subject, refined, theta):
        np.testing.assert_array_equal(refined.estimate.code, theta[:, -BITS:] > 0)
        np.testing.assert_array_equal(refined.stage, Stage.REFINE)
        np.testing.assert_array_equal(refined.estimate.status, Status.OK)
        assert (np.asarray(refined.estimate.loss) < SOLVED).all()
        # J delta is a difference of two residuals: of the end, below SOLVED, and of the truth, about 1.
        stds = np.asarray(subject.space.content_stds)
        error = np.linalg.norm(refined.estimate.content - theta[:, :-BITS] * stds, axis=1)
        assert (0.5 * error < (768**0.5 * ROUNDING) * (SOLVED + 1.1)).all()

    def test_costs_its_own_steps(self, refined):
        costs = passes(np.arange(1, SETTINGS.steps + 1), SETTINGS)
        assert set(np.asarray(refined.passes).tolist()) <= set(costs.tolist())
        np.testing.assert_array_equal(refined.looks, 0)  # the ladder adds those below

    def test_needs_an_answer_below(self, subject, images):
        with pytest.raises(ValueError, match="starts from a reading and got none: use multistart"):
            rungs.refine_rung(subject, settings=SETTINGS, known=None).run(
                images, NUMBERS, None, lambda _: None
            )

    def test_company_cannot_be_seen(self, subject, images, reading, refined):
        rung = rungs.refine_rung(subject, settings=SETTINGS, known=None)
        rows = np.array([3, 1])
        found = run(rung, images[rows], below=select(reading, rows), numbers=NUMBERS[rows])
        for one, other in zip(found.estimate, select(refined, rows).estimate, strict=True):
            # Coordinates of condition 100; logits are 2 theta / v with v about 1e-4.
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)

    def test_known_damage_overrules_what_was_read(self, subject, images, reading, refined):
        lost = reading._replace(damage=reading.damage.at[:, 0].set(3.0))  # turned by 30 degrees
        rung = rungs.refine_rung(subject, settings=SETTINGS, known=NO_DAMAGE)
        found = run(rung, images, below=lost)
        np.testing.assert_array_equal(found.estimate.code, refined.estimate.code)
        np.testing.assert_array_equal(found.damage, 0)


def multistart(subject, *, starts=3, known=None, seed=0):
    return rungs.multistart_rung(subject, starts=starts, settings=SETTINGS, key=rng.root(seed), known=known)


class TestMultistart:
    def test_finds_the_codes_of_clean_images(self, subject, images, theta):
        found = run(multistart(subject), images)
        np.testing.assert_array_equal(found.estimate.code, theta[:, -BITS:] > 0)
        np.testing.assert_array_equal(found.stage, Stage.MULTISTART)
        assert (np.asarray(found.estimate.loss) < SOLVED).all()
        # The problem is convex: a first descent solves it.
        assert (np.asarray(found.passes) <= MOST).all()

    def test_starts_are_the_mean_and_samples_of_the_prior(self, subject, images, monkeypatch):
        """All starts are taken where none is solved and no two agree; start s of an image has its number."""
        origins = self.watch(monkeypatch)
        run(multistart(subject, starts=40), images)
        assert len(origins) == 40
        np.testing.assert_array_equal(origins[0], 0)
        drawn = np.stack(origins[1:])
        # 39 · 5 · 24 normal numbers: mean and variance within five standard deviations
        assert abs(drawn.mean()) < 5 / drawn.size**0.5
        assert abs(drawn.var() - 1) < 5 * (2 / drawn.size) ** 0.5
        origins.clear()
        rows = np.array([4, 1])
        run(multistart(subject, starts=3), images[rows], numbers=NUMBERS[rows])
        np.testing.assert_array_equal(np.stack(origins[1:]), drawn[:2, rows])
        origins.clear()
        run(multistart(subject, starts=2, seed=1), images)
        assert (origins[1] != drawn[0]).all()

    def watch(self, monkeypatch):
        """Replaces descents by ends that are never solved and agree with nobody; lists their origins."""
        origins = []

        def descended(subject, settings, images, harms, origin, progress):
            del harms
            origins.append(np.array(origin))
            progress(settings.steps * len(images))
            n, start = len(images), len(origins)
            theta = np.where(np.arange(D) % (start + 1) == 0, -1, 1) * np.ones((n, D), np.float32)
            logits = theta[:, -subject.bits :].copy()
            harm = np.zeros((n, damage.SIZE), np.float32)
            return ends.Ends(theta, np.full(n, 90.0, np.float32), logits, harm, np.full(n, start))

        monkeypatch.setattr(rungs, "descended", descended)
        return origins

    def test_images_without_an_explanation_stop_when_two_starts_agree(self, subject):
        noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 16, 16, 3)).astype(np.float32)
        found = run(multistart(subject, starts=5), noise, numbers=NUMBERS[:2])
        # Two convex descents, and the local information of each end.
        most = 2 * (MOST + 1 + D)
        assert (np.asarray(found.passes) <= most).all()
        assert (np.asarray(found.passes) > most / 4).all()

    def test_an_answer_below_is_kept_where_it_is_better(self, subject, images, reading, monkeypatch):
        self.watch(monkeypatch)
        good = reading._replace(estimate=reading.estimate._replace(loss=jnp.asarray([1, 200, 1, 200, 1.0])))
        found = run(multistart(subject, starts=1, known=NO_DAMAGE), images, below=good)
        np.testing.assert_array_equal(found.estimate.loss, [1, 90, 1, 90, 1])
        np.testing.assert_array_equal(found.passes, 1)  # what was spent here; the ladder adds what was below
        kept = np.array([0, 2, 4])
        np.testing.assert_array_equal(found.estimate.code[kept], reading.estimate.code[kept])

    def test_no_start_is_refused(self, subject, images):
        with pytest.raises(ValueError, match="0 starts"):
            run(multistart(subject, starts=0), images)


class TestReference:
    def rung(self, subject):
        return rungs.reference_rung(subject, settings=SHORT, distance=energy, key=rng.root(2))

    def test_searches_and_says_what_it_cost(self, subject, images):
        found = run(self.rung(subject), images)
        np.testing.assert_array_equal(found.stage, Stage.REFERENCE)
        np.testing.assert_array_equal(found.passes, 2 * SHORT.starts * SHORT.steps)
        np.testing.assert_array_equal(found.damage, 0)
        assert np.isfinite(found.estimate.loss).all()

    def test_company_cannot_be_seen(self, subject, images):
        whole = run(self.rung(subject), images)
        rows = np.array([3, 1])
        found = run(self.rung(subject), images[rows], numbers=NUMBERS[rows])
        np.testing.assert_array_equal(found.estimate.code, whole.estimate.code[rows])
        np.testing.assert_allclose(found.estimate.loss, whole.estimate.loss[rows], rtol=1e-4)
