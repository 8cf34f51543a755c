"""A basis of leading axes and an isotropic rest, against the whole basis, on a linear generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.attribution import cascade, encoder, information, refine, whitening
from latentfp.attribution.cascade import Budget, make_cascade
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import numbered
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.refine import SOLVED, Model, Settings
from latentfp.attribution.whitening import latents, mean_curvature, whiten
from latentfp.augment import damage
from latentfp.choices import Coding, Method
from latentfp.fingerprint.basis import Basis, split
from latentfp.fingerprint.streaming import fit_leading
from latentfp.generators import linear
from latentfp.pixels import to_float, to_pixels

SIZE, D, HELD, BITS, SIGMA, REST = 16, 96, 24, 8, 2.0, 0.3
N = 4
WHOLE = Settings(steps=1, inner=D + HELD, first_scale=1.0, damping=0.0)


def spaces():
    """The whole basis and the leading axes of a prior whose variance is REST² along all others."""
    stds = jnp.concatenate([jnp.linspace(2.0, 0.5, HELD), jnp.full(D - HELD, REST)])
    axes = jnp.linalg.qr(jax.random.normal(jax.random.key(3), (D, D)))[0].T
    whole = Basis(0.1 * jnp.ones(D), axes, stds)
    few = Basis(whole.mean, axes[:HELD], stds[:HELD], jnp.asarray(REST))
    return [split(it, shift=HELD - BITS, bits=BITS) for it in (whole, few)]


def subjects():
    generator = linear.make(latent_dim=D, size=SIZE)
    params = linear.init(jax.random.key(4), latent_dim=D, size=SIZE)
    found = []
    for space in spaces():
        white = whiten(space, sigma=SIGMA, coding=Coding.ANTIPODAL)
        curvature = mean_curvature(generator, params, white, jax.random.key(5), batch=16, probes=64)
        made = (generator._replace(encode=None), params, space, white, SIGMA, Coding.ANTIPODAL)
        found.append(Subject(*made, lambda it=curvature: it, lambda: None))  # type: ignore
    return found


@pytest.fixture(scope="module")
def both():
    return subjects()


@pytest.fixture(scope="module")
def marked(both):
    """Codes, and 8-bit images of the prior that bear them."""
    whole, _ = both
    theta = np.random.default_rng(6).normal(size=(N, D)).astype(np.float32)
    theta[:, -BITS:] = np.sign(theta[:, -BITS:])
    images = whole.generator.synthesize(whole.params, latents(whole.whitened, jnp.asarray(theta)))
    return theta[:, -BITS:] > 0, np.asarray(to_float(to_pixels(images)))


def test_coordinates_have_the_covariance_of_the_prior(both):
    whole, few = (subject.whitened for subject in both)
    assert (whole.size, few.size) == (D, D + HELD)
    covariances = []
    for white in (whole, few):
        map_ = np.asarray(latents(white, jnp.eye(white.size)) - white.origin[None], np.float64)
        covariances.append(map_.T @ map_)
    np.testing.assert_allclose(*covariances, atol=1e-5)  # float32 sums of squares of at most 4


def test_coordinates_of_latents_are_found_again(both):
    few = both[1].whitened
    w = jax.random.normal(jax.random.key(7), (N, D))
    away = w - few.origin[None]
    theta = encoder.coordinates(few, w)
    assert theta.shape == (N, few.size)
    np.testing.assert_allclose(latents(few, theta), w, atol=1e-5)
    np.testing.assert_allclose(
        latents(few, theta[:, -HELD:]) - few.origin[None], away @ projector(few), atol=1e-5
    )


def projector(white):
    axes = white.rows / jnp.linalg.norm(white.rows, axis=1, keepdims=True)
    return axes.T @ axes


def posterior(subject, images):
    """Means and variances of the code after one whole step from the mean of the prior."""
    model = Model(subject.params, subject.whitened, subject.curvature())
    d, rank = subject.whitened.size, model.curvature.eigenvalues.shape[0]
    fixed = (UNDAMAGED, subject.generator, model, WHOLE)
    problem = refine.pose(UNDAMAGED, jnp.asarray(images), jnp.zeros((N, damage.SIZE)))
    state = refine.init(*fixed, problem, jnp.zeros((N, d)))
    after = refine.step(*fixed, problem, state, bits=BITS)
    variances = information.code_variances(
        UNDAMAGED, subject.generator, model, problem, after.point, jnp.ones(N), bits=BITS, rank=rank
    )
    return np.asarray(after.point)[:, -BITS:], np.asarray(variances)


def test_the_posterior_of_the_code_is_that_of_the_whole_basis(both, marked, monkeypatch):
    """Also where the curvature of both is known from a few probes alone."""
    monkeypatch.setattr(whitening, "MOST_EXACT", 10)
    exact = subjects()
    for subject in exact:
        assert subject.curvature().eigenvalues.shape == (32,)
    (mean, _), (other, _) = (posterior(subject, marked[1]) for subject in exact)
    # float32 conjugate gradients of a condition of some 1000: 1e-4 of coordinates of about 1
    np.testing.assert_allclose(other, mean, atol=2e-3)
    (mean, variance), (other, found) = (posterior(subject, marked[1]) for subject in both)
    np.testing.assert_allclose(other, mean, atol=2e-3)
    np.testing.assert_allclose(found, variance, rtol=2e-2)


@pytest.mark.parametrize("held", [0, 1], ids=["whole", "leading"])
def test_descents_read_every_bit(both, marked, held):
    code, images = marked
    made = make_cascade(both[held], None, Method.MULTISTART, key=rng.root(0), budget=Budget(starts=1))
    found = cascade.run(made, images, numbered(0, N))
    np.testing.assert_array_equal(found.estimate.code, code)
    assert (np.asarray(found.estimate.loss) < SOLVED).all()
    assert found.estimate.content.shape == (N, D - BITS + held * HELD)


def test_few_probes_keep_the_trace_and_the_strongest_directions():
    """Of a curvature of 6 strong directions among 200."""
    random = np.random.default_rng(8)
    strong = np.linalg.qr(random.normal(size=(200, 6)))[0]
    pulled = (random.normal(size=(64, 6)) * 10) @ strong.T + random.normal(size=(64, 200)) * 0.1
    found = whitening._of_few(pulled.astype(np.float32))
    values, vectors, rest = (np.asarray(leaf, np.float64) for leaf in found)
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(32), atol=1e-4)
    total = np.square(pulled).sum() / 64
    np.testing.assert_allclose(values.sum() + rest * (200 - 32), total, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(strong.T @ vectors[:, -6:]), np.sqrt(6), rtol=1e-3)


def test_a_fit_of_leading_axes_finds_how_the_rest_varies():
    stds = np.concatenate([np.linspace(2.0, 0.8, 10), np.full(90, REST)])
    samples = (np.random.default_rng(9).normal(size=(4000, 100)) * stds).astype(np.float32) + 1
    # 90 variances of 4000 samples each: 2e-3 of their mean; what leading axes take from the rest is less
    np.testing.assert_allclose(fit_leading([samples], axes=10).rest_std, REST, rtol=5e-3)
