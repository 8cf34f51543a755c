from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.choices import Coding
from latentfp.fingerprint.basis import content, coordinates, fit_basis, split
from latentfp.fingerprint.embed import compose, embed, levels, mark

D, K = 16, 6
SIGMA = 0.7


@pytest.fixture(scope="module")
def space():
    random = np.random.default_rng(3)
    return split(fit_basis(random.standard_normal((500, D)) * np.linspace(4, 0.5, D) + 2), shift=7, bits=K)


@pytest.fixture(scope="module")
def exact(space):
    """The same space as float64 NumPy arrays."""
    return SimpleNamespace(**{name: np.asarray(part, np.float64) for name, part in space._asdict().items()})


CODE = np.array([1, 0, 0, 1, 1, 0], dtype=bool)
W0 = np.random.default_rng(4).standard_normal(D).astype(np.float32) * 3
# Sums of 16 products of size up to 10 in float32.
ROUNDING = 1e-5


@pytest.mark.parametrize(("coding", "low", "high"), [(Coding.ANTIPODAL, -0.5, 0.5), (Coding.BINARY, 0, 1)])
def test_levels(coding, low, high):
    np.testing.assert_array_equal(levels(CODE, coding), np.where(CODE, high, low))


@pytest.mark.parametrize("coding", Coding)
def test_embed_writes_the_code_and_keeps_the_content(space, exact, coding):
    w = embed(space, jnp.asarray(W0), CODE, sigma=SIGMA, coding=coding)
    level = CODE - coding.offset
    v = exact.code_axes
    expected = W0 - v.T @ v @ (W0 - exact.mean) + SIGMA * v.T @ level
    np.testing.assert_allclose(w, expected, atol=ROUNDING)
    np.testing.assert_allclose(coordinates(space, w), SIGMA * level, atol=ROUNDING)
    np.testing.assert_allclose(content(space, w), content(space, jnp.asarray(W0)), atol=ROUNDING)


def test_embedding_twice_leaves_the_second_code(space):
    write = partial(embed, space, sigma=SIGMA, coding=Coding.ANTIPODAL)
    once = write(jnp.asarray(W0), ~CODE)
    np.testing.assert_allclose(write(once, CODE), write(jnp.asarray(W0), CODE), atol=ROUNDING)


@pytest.mark.parametrize("coding", Coding)
def test_compose_is_the_equation(space, exact, coding):
    alpha = np.random.default_rng(6).standard_normal(D - K).astype(np.float32)
    level = CODE - coding.offset
    w = compose(space, jnp.asarray(alpha), levels(CODE, coding), sigma=SIGMA)
    expected = exact.mean + exact.content_axes.T @ alpha + SIGMA * exact.code_axes.T @ level
    np.testing.assert_allclose(w, expected, atol=ROUNDING)
    np.testing.assert_allclose(content(space, w), alpha, atol=ROUNDING)


def test_compose_of_a_latents_content_is_embed(space):
    w0 = jnp.asarray(W0)
    composed = compose(space, content(space, w0), levels(CODE, Coding.BINARY), sigma=SIGMA)
    np.testing.assert_allclose(
        composed, embed(space, w0, CODE, sigma=SIGMA, coding=Coding.BINARY), atol=ROUNDING
    )


@pytest.mark.parametrize(("coding", "energy"), [(Coding.ANTIPODAL, K / 4), (Coding.BINARY, K / 2)])
def test_the_energy_of_a_balanced_mark(space, coding, energy):
    added = mark(space, levels(CODE, coding), sigma=SIGMA)
    np.testing.assert_allclose(jnp.sum(added**2), SIGMA**2 * energy, rtol=1e-5)


def test_both_codings_set_codes_equally_far_apart(space):
    def apart(coding):
        return mark(space, levels(CODE, coding), sigma=1.0) - mark(space, levels(~CODE, coding), sigma=1.0)

    np.testing.assert_allclose(apart(Coding.ANTIPODAL), apart(Coding.BINARY), atol=1e-6)


def test_batches_are_vmaps_business(space):
    codes = np.stack([CODE, ~CODE])
    latents = jnp.asarray(np.stack([W0, -W0]))
    write = partial(embed, space, sigma=SIGMA, coding=Coding.ANTIPODAL)
    both = jax.vmap(write)(latents, codes)
    for row, latent, code in zip(both, latents, codes, strict=True):
        np.testing.assert_allclose(row, write(latent, code), atol=ROUNDING)


@pytest.mark.golden
def test_latents_of_the_public_code(golden):
    with np.load(golden("fingerprint") / "io.npz") as io:
        golden_basis = fit_basis(io["w"])._replace(
            mean=jnp.asarray(io["mean"]), axes=jnp.asarray(io["components"]), stds=jnp.asarray(io["sigma"])
        )
        for shift, codes, contents, w0, wx in zip(
            io["shifts"], io["keys"], io["alpha"], io["w0"], io["wx"], strict=True
        ):
            space = split(golden_basis, shift=int(shift), bits=16)
            code_levels = jax.vmap(partial(levels, coding=Coding.BINARY))(codes.astype(bool))
            write = jax.vmap(partial(compose, space, sigma=1.0))
            np.testing.assert_allclose(write(contents, jnp.zeros_like(code_levels)), w0, atol=1e-4)
            np.testing.assert_allclose(write(contents, code_levels), wx, atol=1e-4)
            embedded = jax.vmap(partial(embed, space, sigma=1.0, coding=Coding.BINARY))(
                w0, codes.astype(bool)
            )
            np.testing.assert_allclose(embedded, wx, atol=1e-4)
