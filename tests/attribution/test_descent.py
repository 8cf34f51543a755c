"""Descents of many images: places and company cannot be seen; where they end, and what that says of bits."""

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, D
from linear_subject import draw_thetas, images_at, make_subject, posterior

from latentfp.attribution import covered, descent, refine
from latentfp.attribution.decoder import Reading, thetas
from latentfp.attribution.descent import (
    DOUBT,
    SHARE_PREVIOUS,
    FitResult,
    Start,
    answered,
    better,
    blended,
    descend,
    fit,
    fitted,
)
from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.orientation import UPRIGHT
from latentfp.attribution.refine import SOLVED, Model, Settings
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Stage
from latentfp.pixels import to_float, to_pixels

N = 7
SETTINGS = Settings(steps=10, inner=3, first_scale=1.0)


@pytest.fixture(scope="module")
def subject():
    return make_subject()


@pytest.fixture(scope="module")
def start(subject):
    """Seven images: some start at their end, some elsewhere, one at NaN, one nothing explains."""
    theta = draw_thetas(N)
    images = images_at(subject, theta)
    images[5] = np.random.default_rng(3).uniform(-0.5, 0.5, images[5].shape)
    theta[3:] = draw_thetas(4, seed=6)
    theta[2, 0] = np.nan
    return Start(images, np.zeros((N, damage.SIZE), np.float32), theta)


def run(subject, start, progress=lambda _: None):
    model = Model(subject.params, subject.whitened, subject.curvature())
    return descend(UNDAMAGED, subject, model, SETTINGS, start, progress)


@pytest.fixture(scope="module")
def alone(subject, start):
    """As a CPU does it: one place."""
    return run(subject, start)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(found.residual, expected.residual, rtol=1e-4)
    # Whether a last step lowers an objective of 192 is decided in float32, 2e-5: steps up to sqrt(2e-5).
    np.testing.assert_allclose(found.point, expected.point, atol=5e-3)


@pytest.mark.parametrize("places", [2, 4, 16])
def test_places_cannot_be_seen(subject, start, alone, monkeypatch, places):
    monkeypatch.setattr(descent, "places", lambda: places)
    assert_same(run(subject, start), alone)


@pytest.mark.parametrize("places", [1, 4])
def test_a_loop_on_the_device_ends_where_single_steps_do(subject, start, alone, monkeypatch, places):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return loop(*arguments, **options)

    loop = refine.steps_until_done
    monkeypatch.setattr(refine, "steps_until_done", counted)
    monkeypatch.setattr(descent, "host_steps", lambda: False)
    monkeypatch.setattr(descent, "places", lambda: places)
    assert_same(run(subject, start), alone)
    assert len(calls) <= N, "the host is asked once for every image that is done"
    if places > 1:
        assert len(calls) > -(-N // places), "a place that is free waits for no other"


@pytest.mark.parametrize("places", [1, 2])
def test_order_cannot_be_seen(subject, start, alone, monkeypatch, places):
    monkeypatch.setattr(descent, "places", lambda: places)
    order = np.array([4, 2, 6, 0, 5, 1, 3])
    found = run(subject, Start(*(part[order] for part in start)))
    expected = jax.tree.map(lambda leaf: leaf[order], alone)
    assert_same(found, expected)
    if places == 1:
        np.testing.assert_array_equal(found.point, expected.point)  # to the last bit


def test_images_end_when_they_are_done(alone):
    np.testing.assert_array_equal(alone.steps[[0, 1, 2]], [1, 1, 0])
    assert np.isnan(alone.residual[2])
    assert (alone.residual[[0, 1, 3, 4, 6]] < refine.SOLVED).all()
    assert alone.residual[5] > 10 * refine.SOLVED
    assert (alone.steps <= SETTINGS.steps).all()


def test_a_free_place_is_filled_at_once(subject, start, alone, monkeypatch):
    """As many steps of all places as list scheduling needs."""
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return step(*arguments, **options)

    step = refine.step
    monkeypatch.setattr(refine, "step", counted)
    monkeypatch.setattr(descent, "places", lambda: 2)
    run(subject, start)
    until = [0, 0]
    for steps in alone.steps:
        until[int(np.argmin(until))] += max(1, steps)  # one also for an image that is done at once
    assert len(calls) == max(until) < alone.steps.sum()


def test_progress_counts_the_steps_of_all_images(subject, start, monkeypatch):
    monkeypatch.setattr(descent, "places", lambda: 4)
    heard = []
    run(subject, start, heard.append)
    assert sum(heard) == N * SETTINGS.steps
    assert len(heard) > 1


def test_what_runs_in_parallel_keeps_its_order():
    assert list(descent.in_parallel(lambda n: n * n, list(range(20)))) == [n * n for n in range(20)]
    assert list(descent.in_parallel(str, [])) == []


@pytest.mark.parametrize("places", [1, 4])
def test_batches_have_one_shape(monkeypatch, places):
    monkeypatch.setattr(descent, "places", lambda: places)
    for n in (1, 3, 4, 9):
        rows = np.arange(100, 100 + n)
        parts = descent.batches(rows)
        np.testing.assert_array_equal(np.concatenate([some for some, _ in parts]), rows)
        assert {len(filled) for _, filled in parts} == {places}
        assert all(set(filled) <= set(some) and set(some) <= set(filled) for some, filled in parts)


PROGRAM = """
import sys
import jax
import numpy as np
from linear_subject import draw_thetas, images_at, make_subject
from latentfp.attribution import descent
from latentfp.attribution.descent import Start
from latentfp.attribution.refine import Settings
from latentfp.augment import damage

assert jax.device_count() == int(sys.argv[1]), jax.devices()
descent.places, descent.host_steps = (lambda: 16), (lambda: False)
where = []
begin = descent.refine.begin
def watched(*arguments):
    where.append(len(arguments[4].sharding.device_set))
    return begin(*arguments)
descent.refine.begin = watched
subject, theta = make_subject(size=16, sigma=2.0), draw_thetas(20)
images, harm = images_at(subject, theta), np.zeros((20, damage.SIZE), np.float32)
images[3] = np.random.default_rng(4).uniform(-0.3, 0.3, images[3].shape)
start = Start(images, harm, np.zeros_like(theta))
found = descent.fit(subject, Settings(steps=8), start, lambda _: None)
assert set(where) == {int(sys.argv[1])}, where
np.savez(sys.argv[2], **found._asdict())
"""


@pytest.mark.slow
def test_eight_devices_find_what_one_does(tmp_path):
    found = []
    for devices in (1, 8):
        file = tmp_path / f"{devices}.npz"
        flags = f"--xla_force_host_platform_device_count={devices}"
        path = os.pathsep.join(sys.path)
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(devices), file],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path},
            check=True,
        )
        found.append(np.load(file))
    one, eight = found
    np.testing.assert_allclose(eight["residual"], one["residual"], rtol=1e-3)
    np.testing.assert_allclose(eight["theta"], one["theta"], atol=5e-3)  # as above
    np.testing.assert_allclose(eight["logits"], one["logits"], rtol=1e-2, atol=1e-2)


FOUR = 4
BRIEF = Settings(steps=6, inner=3)


@pytest.fixture(scope="module")
def large():
    return make_subject(size=16, sigma=2.0)


def make_results(n, *, residual: Any = 1.0, theta=1.0, logits=3.0):
    row = np.ones((n, 1), np.float32)
    return FitResult(
        theta=row * np.broadcast_to(np.float32(theta), (D,)),
        residual=np.broadcast_to(np.asarray(residual, np.float32), (n,)).copy(),
        logits=row * np.broadcast_to(np.float32(logits), (BITS,)),
        distortion=np.zeros((n, damage.SIZE), np.float32),
        passes=np.arange(n),
        orientation=np.full(n, UPRIGHT),
        hidden=covered.nothing(n),
    )


def previous_reading(n):
    random = np.random.default_rng(3)
    logits, content = random.normal(size=(n, BITS)), random.normal(size=(n, D - BITS))
    estimate = Estimate(
        code=np.asarray(logits > 0),
        logits=np.asarray(logits, np.float32),
        content=np.asarray(content, np.float32),
        loss=np.full(n, 9.0, np.float32),
        status=np.zeros(n, int),
        levels=np.asarray(logits, np.float32),
    )
    harm = np.asarray(random.normal(size=(n, damage.SIZE)), np.float32)
    return answer(estimate, Stage.DECODER, passes=2, iterations=3, distortion=harm)


class TestSoftBits:
    """On a linear generator every posterior is normal and known."""

    @pytest.fixture(scope="class")
    def found(self, large):
        """Clean images, the last of them replaced by one that nothing explains."""
        images = images_at(large, draw_thetas(FOUR))
        images[-1] = np.random.default_rng(4).uniform(-0.3, 0.3, images[-1].shape)
        nothing = np.zeros((FOUR, damage.SIZE), np.float32)
        origin = np.zeros((FOUR, D), np.float32)
        return fit(large, BRIEF, Start(images, nothing, origin), lambda _: None)

    def test_of_solved_images_are_log_likelihood_ratios(self, large, found):
        _, covariance = posterior(large, np.zeros((1, 16, 16, 3)), 1.0)
        for row in range(FOUR - 1):
            assert found.residual[row] < SOLVED
            variance = np.diag(covariance)[-BITS:] * max(1.0, found.residual[row]) ** 2
            # The scale of the errors is the residual; the prior adds less than a thousandth to them.
            np.testing.assert_allclose(found.logits[row], 2 * found.theta[row, -BITS:] / variance, rtol=2e-3)

    def test_of_unexplained_images_are_halved_and_limited(self, large, found):
        assert found.residual[-1] > 10 * SOLVED
        variance = np.diag(posterior(large, np.zeros((1, 16, 16, 3)), found.residual[-1])[1])[-BITS:]
        expected = DOUBT * np.tanh(found.theta[-1, -BITS:] / variance / DOUBT)
        np.testing.assert_allclose(found.logits[-1], expected, rtol=1e-3, atol=1e-4)
        assert np.abs(found.logits[-1]).max() <= DOUBT

    def test_of_solved_images_cost_nothing(self, found):
        local = 1 + D  # a linearisation and all directions
        assert ((found.passes[:-1] - 1) % 9 == 0).all()
        assert (found.passes[-1] - 1 - local) % 9 == 0

    def test_batches_cannot_be_seen(self, large, found, monkeypatch):
        monkeypatch.setattr(descent, "places", lambda: 2)
        images = images_at(large, draw_thetas(FOUR))
        images[-1] = np.random.default_rng(4).uniform(-0.3, 0.3, images[-1].shape)
        nothing, origin = np.zeros((FOUR, damage.SIZE), np.float32), np.zeros((FOUR, D), np.float32)
        again = fit(large, BRIEF, Start(images, nothing, origin), lambda _: None)
        np.testing.assert_allclose(again.logits[:-1], found.logits[:-1], rtol=1e-4)
        # The last is as good as it gets where steps change nothing in float32, see `assert_same`.
        np.testing.assert_allclose(again.logits[-1], found.logits[-1], atol=5e-3)


def test_every_image_is_compared_as_its_damage_demands(large):
    """Of three images the second is blurred; each ends where it does alone, in its own row."""
    images = images_at(large, draw_thetas(3))
    harm = Damage(blur=1.0)
    blurred = to_pixels(jax.vmap(lambda x: damage.distort(x, harm))(images[1:2]))
    images[1] = to_float(np.asarray(blurred))[0]
    distortions = np.zeros((3, damage.SIZE), np.float32)
    distortions[1] = damage.coordinates(harm)
    origin, heard = np.zeros((3, D), np.float32), []
    together = fit(large, BRIEF, Start(images, distortions, origin), heard.append)
    assert sum(heard) == 3 * BRIEF.steps
    np.testing.assert_array_equal(together.theta[:, -BITS:] > 0, draw_thetas(3)[:, -BITS:] > 0)
    np.testing.assert_array_equal(together.distortion[[0, 2]], 0)
    assert abs(together.distortion[1, 4] - 1) < 0.1
    alone = fit(large, BRIEF, Start(images[1:2], distortions[1:2], origin[:1]), lambda _: None)
    np.testing.assert_array_equal(alone.theta[0], together.theta[1])
    np.testing.assert_array_equal(alone.passes[0], together.passes[1])


def test_an_answer_is_the_end_of_a_descent(large):
    previous = previous_reading(3)
    found = fitted(large, previous)
    stds = np.asarray(large.space.content_stds)[None]
    expected = thetas(
        Reading(
            *map(
                jnp.asarray, (previous.estimate.content / stds, previous.estimate.logits, previous.distortion)
            )
        )
    )
    np.testing.assert_allclose(found.theta, expected, rtol=1e-6)
    back = answered(large, Stage.REFINE, found)
    np.testing.assert_allclose(back.estimate.content, previous.estimate.content, rtol=1e-5)
    np.testing.assert_array_equal(back.estimate.logits, previous.estimate.logits)
    np.testing.assert_array_equal(back.distortion, previous.distortion)
    np.testing.assert_array_equal(back.stage, Stage.REFINE)
    for part in found:
        part[0] = 0  # ends are written into


@pytest.mark.parametrize("where", ["residual", "logits"])
def test_what_is_not_finite_is_a_status_of_that_image_only(large, where):
    found = make_results(3)
    getattr(found, where)[1] = np.nan
    estimate = answered(large, Stage.REFINE, found).estimate
    np.testing.assert_array_equal(estimate.status, [Status.OK, Status.NONFINITE, Status.OK])
    np.testing.assert_array_equal(estimate.logits[1], 0)
    assert not np.asarray(estimate.code[1]).any()
    assert np.asarray(estimate.code[np.array([0, 2])]).all()


def test_the_decoder_has_a_say_where_a_descent_is_in_doubt():
    previous, found = previous_reading(3), make_results(3, residual=[0.9, SOLVED + 0.1, np.nan])
    logits = blended(found, previous).logits
    np.testing.assert_array_equal(logits[0], 3.0)
    doubted = 3 + SHARE_PREVIOUS * np.asarray(previous.estimate.logits)
    np.testing.assert_allclose(logits[1:], doubted[1:], rtol=1e-6)
    np.testing.assert_array_equal(blended(found, None).logits, 3.0)


class TestBetter:
    PIXELS = 100

    def test_a_first_end_is_taken_as_it_is(self):
        found = make_results(2, residual=[1.0, 2.0])
        best, settled = better(None, found, np.arange(2), bits=BITS, pixels=self.PIXELS)
        assert best is found
        np.testing.assert_array_equal(settled, [True, False])

    def test_rows_are_compared_by_residual_and_content(self):
        """100 log m² + 16 t²: a residual of 2 weighs 139 more than 1, a content of 4 · 4 weighs 256."""
        best = make_results(5, residual=[2, 2, 2, 2, np.nan], theta=1, logits=-1.0)
        found = make_results(3, residual=[1, 3, np.nan], theta=1)
        merged, _ = better(best, found, np.array([3, 1, 0]), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(merged.residual, [2, 2, 2, 1, np.nan])
        np.testing.assert_array_equal(merged.logits[:, 0], [-1, -1, -1, 3, -1])
        far = make_results(1, residual=1.0, theta=4)
        merged, _ = better(make_results(1, residual=2.0), far, np.array([0]), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(merged.residual, 2)
        merged, _ = better(
            make_results(1, residual=np.nan), far, np.array([0]), bits=BITS, pixels=self.PIXELS
        )
        np.testing.assert_array_equal(merged.residual, 1)

    def test_an_image_is_settled_by_a_solution_or_by_two_that_agree(self):
        best = make_results(3, residual=9.0)
        found = make_results(3, residual=[8.0, 8.0, 1.0])
        found.theta[:, 0] = -1  # content need not agree
        found.theta[1:, -1] = -1  # one bit of eight is more than a sixteenth
        _, settled = better(best, found, np.arange(3), bits=BITS, pixels=self.PIXELS)
        np.testing.assert_array_equal(settled, [True, False, True])
