"""Each way to break a promise is noticed, and said in a line that names the promise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from latentfp import rng
from latentfp.generators import contract, linear

WHOLE = linear.make(latent_dim=6, size=4)
PARAMS = linear.init(rng.root(0), latent_dim=6, size=4)


@jax.custom_jvp
def twice_as_steep(x):
    return x


twice_as_steep.defjvp(lambda primals, tangents: (primals[0], 2 * tangents[0]))


SAMPLES = [
    (
        lambda p, k, n: WHOLE.sample(p, k, n)[:, :4],
        r"linear: sample gives float32 \(3, 4\), expected float32",
    ),
    (lambda p, k, n: WHOLE.sample(p, k, n).astype(jnp.float16), "sample gives float16"),
    (lambda p, k, n: WHOLE.sample(p, k, n) / 0, "sample gives NaN or infinite numbers"),
    (lambda p, _, n: WHOLE.sample(p, rng.root(1), n), "sample gives the same latents for another key"),
    (lambda p, k, n: jnp.repeat(WHOLE.sample(p, k, 1), n, axis=0), "sample gives the same latent twice"),
]
IMAGES = [
    (lambda p, w: WHOLE.synthesize(p, w)[..., :1], r"synthesize gives float32 \(3, 4, 4, 1\), expected"),
    (lambda p, w: 0 * WHOLE.synthesize(p, w) / 0, "synthesize gives NaN"),
    (lambda p, w: 0 * WHOLE.synthesize(p, w), "gives the same image for all latents"),
    (
        lambda p, w: 255 * WHOLE.synthesize(p, w),
        r"pixels are [\d.]+ on average, expected images in \[-1, 1\]",
    ),
    (
        lambda p, w: WHOLE.synthesize(p, w - w.mean(axis=0)[None] * jnp.arange(3)[:, None]),
        "synthesize gives an image that depends on the others of its batch",
    ),
    (lambda p, w: jax.lax.stop_gradient(WHOLE.synthesize(p, w)), "gradient of synthesize gives 0.0"),
    (
        lambda p, w: twice_as_steep(WHOLE.synthesize(p, w)),
        r"gradient of synthesize gives .* where the images",
    ),
]
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"latent_dim": 0}, "latent_dim is 0, expected 1 or more"),
    ({"image_shape": (4, 4)}, r"image_shape is \(4, 4\), expected \(height, width, 3\)"),
    ({"channels": 4}, "channels is 4, which does not divide latent_dim 6"),
    ({"encode": lambda _, x: x}, r"encode gives float32 \(3, 4, 4, 3\), expected float32 \(3, 6\)"),
    (
        {"renoise": lambda p, _k, _n: p | {"offset": p["offset"] + jnp.nan}},
        "synthesize with renoise gives NaN",
    ),
    ({"regenerate": lambda _p, _k, w, _share: w[:1]}, r"regenerate gives float32 \(1, 6\)"),
    ({"fold": lambda p, _axes, _offset: p}, "fold gives parameters whose images are off by"),
]
CASES = [
    *(({"sample": function}, message) for function, message in SAMPLES),
    *(({"synthesize": function}, message) for function, message in IMAGES),
    *OPTIONS,
]


@pytest.mark.parametrize(("change", "message"), CASES)
def test_a_broken_promise_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        contract.check(WHOLE._replace(**change), PARAMS)


def test_an_image_that_compiles_to_something_else_is_named():
    def synthesize(params, w):
        bent = 1.5 if isinstance(w, Tracer) else 1.0
        return bent * WHOLE.synthesize(params, w)

    with pytest.raises(ValueError, match=r"synthesize is off by .* when it is compiled"):
        contract.check(WHOLE._replace(synthesize=synthesize), PARAMS)


def test_all_broken_promises_are_said_together():
    bad = WHOLE._replace(image_shape=(4, 4), channels=4)
    with pytest.raises(ValueError, match=r"linear: image_shape is .*\nlinear: channels is 4"):
        contract.check(bad, PARAMS)


def test_a_fold_that_is_right_passes():
    def fold(params, axes, offset):
        matrix = np.asarray(params["matrix"])
        moved = np.asarray(params["offset"]) + 0.5 * matrix @ offset
        return params | {"matrix": matrix - matrix @ axes.T @ axes, "offset": moved}

    contract.check(WHOLE._replace(fold=fold), PARAMS)
