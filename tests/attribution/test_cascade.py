"""Stages on a linear generator of 16×16 images, with a decoder that nobody trained; and how they are run."""

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
from latentfp.attribution import cascade, covered, descent, reference
from latentfp.attribution.cascade import RUN, Budget, confident
from latentfp.attribution.estimate import Estimate, Status, answer, numbered, select
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.orientation import UPRIGHT
from latentfp.attribution.refine import SOLVED, Settings, passes
from latentfp.augment import damage
from latentfp.choices import Method, Stage

N, ITERATIONS = 5, 3
SETTINGS = Settings(steps=6, inner=2)
SHORT = reference.STYLEGAN2._replace(starts=2, steps=60, decay=0.05)
IDS = numbered(10, N)
BUDGET = Budget(refine=SETTINGS, multistart=SETTINGS, starts=3, search=SHORT)
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
    return small_decoder(content=D - BITS, bits=BITS, iterations=ITERATIONS)


def run(stage, subject, images, *, decoder=None, previous=None, ids=IDS, method=None, **options):
    """The answer of one stage, after checking that progress is as much as was promised."""
    made = cascade.Cascade(
        method or Method.AUTO,
        (stage,),
        subject,
        decoder,
        options.pop("budget", BUDGET),
        rng.root(options.pop("seed", 0)),
        **options,
    )
    heard = []
    found = RUN[stage](made, images, ids, previous, heard.append)
    assert sum(heard) == made.work(stage) * len(images)
    return found


@pytest.fixture(scope="module")
def reading(subject, decoder, images):
    return run(Stage.DECODER, subject, images, decoder=decoder)


class TestDecoder:
    def test_says_what_it_read_and_cost(self, subject, reading):
        assert reading.estimate.code.shape == reading.estimate.logits.shape == (N, BITS)
        assert reading.estimate.content.shape == (N, D - BITS)
        assert reading.distortion.shape == (N, damage.SIZE)
        np.testing.assert_array_equal(reading.estimate.code, reading.estimate.logits > 0)
        np.testing.assert_array_equal(reading.stage, Stage.DECODER)
        np.testing.assert_array_equal(reading.iterations, ITERATIONS)
        np.testing.assert_array_equal(reading.passes, ITERATIONS - 1)  # the first look is at the mean
        np.testing.assert_array_equal(reading.estimate.status, Status.OK)
        # Content leaves in the latent's units: nobody reads more than a few deviations.
        assert (np.abs(reading.estimate.content) < 3 * subject.space.content_stds[None]).all()

    def test_its_loss_is_the_misfit_of_the_last_look(self, subject, decoder, images):
        """One look sees what the mean of the prior leaves over."""
        found = run(Stage.DECODER, subject, images, decoder=decoder._replace(iterations=1))
        rms = np.sqrt(np.mean(residuals(subject, images, np.zeros((N, D))) ** 2, axis=1))
        np.testing.assert_allclose(found.estimate.loss, rms / ROUNDING, rtol=1e-5)

    def test_batches_cannot_be_seen(self, subject, decoder, images, reading, monkeypatch):
        monkeypatch.setattr(descent, "places", lambda: 2)
        again = run(Stage.DECODER, subject, images, decoder=decoder)
        for one, other in zip(again.estimate, reading.estimate, strict=True):
            np.testing.assert_allclose(one, other, **SAME_PROGRAM)

    def test_a_reading_that_is_not_finite_is_a_status(self, subject, decoder, images):
        broken = jax.tree.map(lambda leaf: leaf * jnp.nan, decoder.weights)
        found = run(Stage.DECODER, subject, images, decoder=decoder._replace(weights=broken))
        np.testing.assert_array_equal(found.estimate.status, Status.NONFINITE)


class TestRefine:
    @pytest.fixture(scope="class")
    def refined(self, subject, images, reading):
        return run(Stage.REFINE, subject, images, previous=reading)

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
        np.testing.assert_array_equal(refined.iterations, 0)  # those of previous stages are added by `run`

    def test_needs_a_previous_answer(self, subject, images):
        with pytest.raises(ValueError, match="starts from a reading and got none: use multistart"):
            run(Stage.REFINE, subject, images)

    def test_company_cannot_be_seen(self, subject, images, reading, refined):
        rows = np.array([3, 1])
        found = run(Stage.REFINE, subject, images[rows], previous=select(reading, rows), ids=IDS[rows])
        for one, other in zip(found.estimate, select(refined, rows).estimate, strict=True):
            np.testing.assert_array_equal(one, other)  # a CPU takes every image alone

    def test_known_damage_overrules_what_was_read(self, subject, images, reading, refined):
        turned = np.array(reading.distortion)
        turned[:, 0] = 3.0  # by 30 degrees
        lost = reading._replace(distortion=turned)
        found = run(Stage.REFINE, subject, images, previous=lost, known=NO_DAMAGE)
        np.testing.assert_array_equal(found.estimate.code, refined.estimate.code)
        np.testing.assert_array_equal(found.distortion, 0)


def multistart(subject, images, *, starts=3, **options):
    return run(Stage.MULTISTART, subject, images, budget=BUDGET._replace(starts=starts), **options)


class TestMultistart:
    def test_finds_the_codes_of_clean_images(self, subject, images, theta):
        found = multistart(subject, images)
        np.testing.assert_array_equal(found.estimate.code, theta[:, -BITS:] > 0)
        np.testing.assert_array_equal(found.stage, Stage.MULTISTART)
        assert (np.asarray(found.estimate.loss) < SOLVED).all()
        # The problem is convex: a first descent solves it.
        assert (np.asarray(found.passes) <= MOST).all()

    def test_starts_are_the_mean_and_samples_of_the_prior(self, subject, images, monkeypatch):
        """All starts are taken where none is solved and no two agree; they follow from the image's id."""
        origins = self.watch(monkeypatch)
        multistart(subject, images, starts=40)
        assert len(origins) == 40
        np.testing.assert_array_equal(origins[0], 0)
        drawn = np.stack(origins[1:])
        # 39 · 5 · 24 normal numbers: mean and variance within five standard deviations
        assert abs(drawn.mean()) < 5 / drawn.size**0.5
        assert abs(drawn.var() - 1) < 5 * (2 / drawn.size) ** 0.5
        origins.clear()
        rows = np.array([4, 1])
        multistart(subject, images[rows], ids=IDS[rows])
        np.testing.assert_array_equal(np.stack(origins[1:]), drawn[:2, rows])
        origins.clear()
        multistart(subject, images, starts=2, seed=1)
        assert (origins[1] != drawn[0]).all()

    def watch(self, monkeypatch):
        """Replaces descents by ends that are never solved and agree with nobody; lists their origins."""
        origins = []

        def fit(subject, settings, start, progress):
            origins.append(np.array(start.thetas))
            n, start = len(start.images), len(origins)
            progress(settings.steps * n)
            theta = np.where(np.arange(D) % (start + 1) == 0, -1, 1) * np.ones((n, D), np.float32)
            logits = theta[:, -subject.bits :].copy()
            harm = np.zeros((n, damage.SIZE), np.float32)
            left, seen = np.full(n, 90.0, np.float32), (np.full(n, UPRIGHT), covered.nothing(n))
            return descent.FitResult(theta, left, logits, harm, np.full(n, start), *seen)

        monkeypatch.setattr(cascade, "fit", fit)
        return origins

    def test_images_without_an_explanation_stop_when_two_starts_agree(self, subject):
        noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 16, 16, 3)).astype(np.float32)
        found = multistart(subject, noise, starts=5, ids=IDS[:2])
        # Two convex descents, and the local information of each end.
        most = 2 * (MOST + 1 + D)
        assert (np.asarray(found.passes) <= most).all()
        assert (np.asarray(found.passes) > most / 4).all()

    def test_a_previous_answer_is_kept_where_it_is_better(self, subject, images, reading, monkeypatch):
        self.watch(monkeypatch)
        good = reading._replace(estimate=reading.estimate._replace(loss=jnp.asarray([1, 200, 1, 200, 1.0])))
        found = multistart(subject, images, starts=1, known=NO_DAMAGE, previous=good)
        np.testing.assert_array_equal(found.estimate.loss, [1, 90, 1, 90, 1])
        np.testing.assert_array_equal(found.passes, 1)  # what was spent here
        kept = np.array([0, 2, 4])
        np.testing.assert_array_equal(found.estimate.code[kept], reading.estimate.code[kept])

    def test_no_start_is_refused(self, subject, images):
        with pytest.raises(ValueError, match="0 starts"):
            multistart(subject, images, starts=0)


class TestReference:
    def search(self, subject, images, **options):
        return run(Stage.REFERENCE, subject, images, distance=energy, seed=2, **options)

    def test_searches_and_says_what_it_cost(self, subject, images):
        found = self.search(subject, images)
        np.testing.assert_array_equal(found.stage, Stage.REFERENCE)
        np.testing.assert_array_equal(found.passes, 2 * SHORT.starts * SHORT.steps)
        np.testing.assert_array_equal(found.distortion, 0)
        assert np.isfinite(found.estimate.loss).all()

    def test_company_cannot_be_seen(self, subject, images):
        whole = self.search(subject, images)
        rows = np.array([3, 1])
        found = self.search(subject, images[rows], ids=IDS[rows])
        np.testing.assert_array_equal(found.estimate.code, whole.estimate.code[rows])
        np.testing.assert_array_equal(found.estimate.loss, whole.estimate.loss[rows])


# ---- How stages are run, with stages that answer by a rule.

NEEDS = np.array([0, 2, 1, 0, 2, 1])  # the stage that decides image i


def images_of(needs):
    """Images that hold the stage that decides them."""
    return np.broadcast_to(needs[:, None, None, None], (len(needs), 2, 2, 3)).astype(np.float32)


def estimate_of(values):
    n = len(values)
    logits = np.broadcast_to(np.asarray(values, np.float32)[:, None], (n, 4))
    content = np.zeros((n, 3), np.float32)
    return Estimate(logits > 0, logits, content, np.ones(n, np.float32), np.full(n, int(Status.OK)), logits)


class Watched:
    """Three stages that remember what they were given; a logit is 10 · stage + number."""

    def __init__(self, monkeypatch, subject):
        self.seen, self.previous, self.heard = [], [], []
        stages = tuple(Stage)[:3]
        monkeypatch.setattr(cascade, "RUN", {stage: self.stage(stage) for stage in stages})
        self.cascade = cascade.Cascade(Method.AUTO, stages, subject, None, BUDGET, rng.root(0))

    def stage(self, stage):
        def run(_, images, ids, previous, progress):
            numbers = ids[:, 0].astype(int)
            self.seen.append((int(stage), numbers.tolist()))
            self.previous.append(previous)
            assert np.isfinite(images).all()
            progress(self.cascade.work(stage) * len(images))
            costs = {"passes": 10**stage * np.ones(len(images), int), "iterations": 3 * (stage == 0)}
            distortion = np.full((len(images), damage.SIZE), float(stage))
            return answer(estimate_of(10 * stage + numbers), stage, distortion=distortion, **costs)

        return run

    def run(self, images, *, decided=None):
        def by_need(found, rows):
            assert len(rows) == len(found.stage)
            number = found.estimate.logits[:, 0] % 10
            return found.stage >= NEEDS[number.astype(int)]

        def listen(n, what):
            assert what == "" or (n == 0 and what.endswith(" %"))
            self.heard.append(n)

        ids = numbered(100, len(images))
        return cascade.run(self.cascade, images, ids, decided=decided or by_need, progress=listen)


@pytest.fixture
def watched(monkeypatch, subject):
    return Watched(monkeypatch, subject)


def test_an_image_runs_as_many_stages_as_it_needs(watched):
    found = watched.run(images_of(NEEDS))
    np.testing.assert_array_equal(found.stage, NEEDS)
    numbers = np.arange(100, 106)
    expected = [(0, numbers.tolist()), (1, numbers[NEEDS > 0].tolist()), (2, numbers[NEEDS > 1].tolist())]
    assert watched.seen == expected
    np.testing.assert_array_equal(found.estimate.logits[:, 0], 10 * NEEDS + numbers)
    np.testing.assert_array_equal(found.distortion[:, 0], NEEDS)


def test_costs_add_up(watched):
    found = watched.run(images_of(NEEDS))
    np.testing.assert_array_equal(found.passes, np.array([1, 11, 111])[NEEDS])
    np.testing.assert_array_equal(found.iterations, 3)


def test_a_stage_gets_the_previous_answers_of_its_own_images(watched):
    watched.run(images_of(NEEDS))
    assert watched.previous[0] is None
    for stage, previous in enumerate(watched.previous[1:], 1):
        np.testing.assert_array_equal(previous.stage, stage - 1)
        numbers = np.arange(100, 106)[stage <= NEEDS]
        np.testing.assert_array_equal(previous.estimate.logits[:, 0], 10 * (stage - 1) + numbers)


@pytest.mark.parametrize("decided", [True, False, None], ids=["at once", "never", "some"])
@pytest.mark.parametrize("broken", [0, 2, 6])
def test_progress_counts_every_image_once_on_every_path(watched, decided, broken):
    images = images_of(NEEDS)
    images[:broken, 0, 0, 0] = np.nan
    rule = None if decided is None else lambda found, _: np.full(found.stage.shape, decided)
    watched.run(images, decided=rule)
    assert sum(watched.heard) == len(images)


def test_images_of_nan_are_a_status_and_run_no_further(watched):
    images = images_of(NEEDS)
    images[1, 0, 0, 0], images[4, 1, 1, 2] = np.nan, np.inf  # both would run to the end
    found = watched.run(images)
    seen = list(watched.seen)
    expected = watched.run(images_of(NEEDS))
    bad, good = np.array([1, 4]), np.array([0, 2, 3, 5])
    np.testing.assert_array_equal(found.estimate.status[bad], Status.NONFINITE)
    np.testing.assert_array_equal(found.estimate.logits[bad], 0)
    assert not np.asarray(found.estimate.code[bad]).any()
    assert np.isinf(found.estimate.loss[bad]).all()
    np.testing.assert_array_equal(found.stage[bad], Stage.ENCODER)
    assert (2, []) not in seen
    for one, other in zip(select(found, good).estimate, select(expected, good).estimate, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_answers_that_decide_are_never_run_again(watched):
    watched.run(images_of(NEEDS), decided=lambda found, _: np.ones(found.stage.shape, bool))
    assert [stage for stage, _ in watched.seen] == [0]


def test_a_cascade_has_a_stage(watched):
    empty = watched.cascade._replace(stages=())
    with pytest.raises(ValueError, match="no stages"):
        cascade.run(empty, images_of(NEEDS), numbered(0, 6))


def test_confidence_is_that_all_bits_are_right():
    """Bit i is right with probability sigmoid |logit|: their product against the tolerance, in float64."""
    logits = np.array([[9.0, -9, 9, -9], [3, 3, 3, -3], [9, 9, 9, 0.1], [0, 0, 0, 0]])
    found = answer(estimate_of(np.zeros(4))._replace(logits=logits), Stage.DECODER, passes=0)
    right = np.prod(1 / (1 + np.exp(-np.abs(logits))), axis=1)
    for tolerance in (1e-4, 1e-3, 0.17, 0.18, 0.6, 0.99):
        np.testing.assert_array_equal(confident(tolerance)(found, np.arange(4)), right >= 1 - tolerance)
