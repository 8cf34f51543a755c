"""A linear generator as the subject of attribution; its best answers in closed form, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from linear_space import BITS, SIZE, D, jacobian, linear_space

from latentfp.attribution import encoder as encoding
from latentfp.attribution.descent import Subject
from latentfp.attribution.observation import ROUNDING
from latentfp.attribution.whitening import Curvature, render, whiten
from latentfp.choices import Coding
from latentfp.pixels import to_float, to_pixels

UNKNOWN = Curvature(jnp.zeros(D), jnp.eye(D), jnp.zeros(()))  # as if images did not depend on anything


def make_subject(*, size=SIZE, sigma=1.0, encoder=False) -> Subject:
    """Its mean curvature is exact, and so is its encoder, which it has only if that is asked for."""
    generator, params, space = linear_space(jax.random.key(11), size=size)
    white = whiten(space, sigma=sigma, coding=Coding.ANTIPODAL)
    j = jacobian(params, white)
    values, vectors = np.linalg.eigh(j.T @ j)
    exact = Curvature(jnp.asarray(values, jnp.float32), jnp.asarray(vectors, jnp.float32), jnp.zeros(()))
    generator = generator if encoder else generator._replace(encode=None)

    def calibration() -> encoding.Calibration:
        return encoding.calibrate(generator, params, white, jax.random.key(12), bits=BITS)

    return Subject(generator, params, space, white, sigma, Coding.ANTIPODAL, lambda: exact, calibration)


def draw_thetas(n, *, seed=5):
    """Contents of the prior, and codes."""
    theta = np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)
    theta[:, -BITS:] = np.sign(theta[:, -BITS:])
    return theta


def images_at(subject, theta):
    """The images of these coordinates, read back from 8 bits."""
    images = render(subject.generator, subject.params, subject.whitened, jnp.asarray(theta))
    return np.array(to_float(to_pixels(images)))


def posterior(subject, images, scale):
    """Means [n d] and covariance [d d] of theta given images of errors scale · ROUNDING, in float64."""
    j = jacobian(subject.params, subject.whitened)
    noise = scale * ROUNDING
    covariance = np.linalg.inv(j.T @ j / noise**2 + np.eye(D))
    return residuals(subject, images, np.zeros((len(images), D))) @ j @ covariance / noise**2, covariance


def residuals(subject, images, theta):
    """x - g(w) [n p] in float64."""
    params, white = subject.params, subject.whitened
    matrix, offset = (np.asarray(params[name], np.float64) for name in ("matrix", "offset"))
    origin = offset + 0.5 * matrix @ np.asarray(white.origin, np.float64)
    shown = origin + np.asarray(theta, np.float64) @ jacobian(params, white).T
    return np.asarray(images, np.float64).reshape(len(images), -1) - shown
