"""A reference search on the linear generator: sizes, budgets and images whose codes are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.attribution.reference import STYLEGAN2
from latentfp.fingerprint.embed import compose, levels

DIM, BITS, SIGMA = 24, 8, 1.0
LONG = STYLEGAN2._replace(starts=4, steps=250)
BRIEF = LONG._replace(steps=60)
# Float32 sums in another order over a few hundred steps; codes must agree exactly.
assert_same = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def energy(target, image):
    return jnp.sum((target - image) ** 2)


def images_of(generator, params, space, truth, coding):
    alpha, codes = truth
    write = jax.vmap(lambda a, c: compose(space, a, levels(c, coding), sigma=SIGMA))
    return generator.synthesize(params, write(alpha, codes))
