"""Many images through few places: places, company and order cannot be seen."""

import numpy as np
import pytest
from linear_subject import draw_thetas, images_at, make_subject

from latentfp.attribution import descent, refine
from latentfp.attribution.descent import Start, descend, power_of_two
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.refine import Model, Settings
from latentfp.augment import damage

pytestmark = pytest.mark.usefixtures("quick_compile")
D, BITS, N = 24, 8, 7
SETTINGS = Settings(steps=10, inner=3, first_scale=1.0)


@pytest.fixture(scope="module")
def subject():
    return make_subject()


@pytest.fixture(scope="module")
def start(subject):
    """Seven images: some start at their end, some elsewhere, one holds NaN, one nothing explains."""
    theta = draw_thetas(N)
    images = images_at(subject, theta)
    images[2, 0, 0, 0] = np.nan
    images[5] = np.random.default_rng(3).uniform(-0.5, 0.5, images[5].shape)
    theta[3:] = draw_thetas(4, seed=6)
    return Start(images, np.zeros((N, damage.SIZE), np.float32), theta)


def run(subject, start, **options):
    model = Model(subject.params, subject.whitened, subject.curvature())
    return descend(UNDAMAGED, subject.generator, model, SETTINGS, start, bits=BITS, **options)


@pytest.fixture(scope="module")
def alone(subject, start):
    parts = [run(subject, Start(*(part[i : i + 1] for part in start))) for i in range(N)]
    return descent.Descent(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def assert_same(found, expected):
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(found.misfits, expected.misfits, rtol=1e-4)
    # Whether a last step lowers an objective of 192 is decided in float32, 2e-5: steps up to sqrt(2e-5).
    np.testing.assert_allclose(found.thetas, expected.thetas, atol=5e-3)


@pytest.mark.parametrize("places", [1, 2, 4, 16])
def test_places_cannot_be_seen(subject, start, alone, places):
    assert_same(run(subject, start, places=places), alone)


def test_order_cannot_be_seen(subject, start, alone):
    order = np.array([4, 2, 6, 0, 5, 1, 3])
    found = run(subject, Start(*(part[order] for part in start)), places=2)
    assert_same(found, descent.Descent(*(part[order] for part in alone)))


def test_images_end_when_they_are_done(alone):
    np.testing.assert_array_equal(alone.steps[[0, 1, 2]], [1, 1, 0])
    assert np.isnan(alone.misfits[2])
    assert (alone.misfits[[0, 1, 3, 4, 6]] < refine.SOLVED).all()
    assert alone.misfits[5] > 10 * refine.SOLVED
    assert (alone.steps <= SETTINGS.steps).all()


def test_a_free_place_is_filled_at_once(subject, start, alone, monkeypatch):
    """As many steps of all places as list scheduling needs."""
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return step(*arguments, **options)

    step = refine.step
    monkeypatch.setattr(refine, "step", counted)
    run(subject, start, places=2)
    until = [0, 0]
    for steps in alone.steps:
        until[int(np.argmin(until))] += max(1, steps)  # one also for an image that is done at once
    assert len(calls) == max(until) < alone.steps.sum()


def test_progress_counts_images(subject, start):
    heard = []
    run(subject, start, places=4, progress=heard.append)
    assert sum(heard) == N
    assert len(heard) > 1


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (16, 16), (17, 32)])
def test_powers_of_two(n, expected):
    assert power_of_two(n) == expected
