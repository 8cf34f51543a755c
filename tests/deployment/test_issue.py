"""Images of a copy against the formula of embedding, in float64."""

import numpy as np
import pytest
from linear_space import BITS, linear_space

from latentfp import rng
from latentfp.deployment import issue as issuing
from latentfp.deployment.issue import issue
from latentfp.fingerprint.codes import draw_codes
from latentfp.fingerprint.embed import Coding

SIGMA = 0.8


def issue_some(world, key, codes, *, coding=Coding.ANTIPODAL, first=0):
    generator, params, space = world
    return issue(generator, params, space, codes, sigma=SIGMA, coding=coding, key=key, first=first)


@pytest.mark.parametrize("coding", Coding)
def test_marked_is_plain_with_the_code_in_place_of_its_own_coordinates(key, coding):
    world = linear_space(key)
    generator, params, space = world
    codes = draw_codes(1, 3, bits=BITS)
    issued = issue_some(world, key, codes, coding=coding, first=5)
    draws = [generator.sample(params, rng.stream(key, "image", 5 + i), 1)[0] for i in range(3)]
    w0 = np.stack([np.asarray(draw, np.float64) for draw in draws])
    mean, v = np.asarray(space.mean, np.float64), np.asarray(space.code_axes, np.float64)
    offset = 0.5 if coding is Coding.ANTIPODAL else 0.0
    w = w0 - (w0 - mean) @ v.T @ v + SIGMA * (codes - offset) @ v
    for pixels, latents in ((issued.plain, w0), (issued.marked, w)):
        x = 0.5 * latents @ np.asarray(params["matrix"], np.float64).T + np.asarray(params["offset"])
        exact = (np.clip(x, -1, 1) + 1) * 127.5
        # half a level for rounding, and float32's share of 255 levels
        assert np.abs(pixels.reshape(3, -1) - exact).max() < 0.5 + 1e-3


def test_an_image_follows_from_its_number_alone(key):
    world = linear_space(key)
    n = issuing.BATCH + 3
    codes = np.tile(draw_codes(1, 1, bits=BITS), (n, 1))
    together = issue_some(world, key, codes)
    later = issue_some(world, key, codes[:4], first=n - 4)
    assert together.marked.shape == (n, *world[0].image_shape)
    for one, all_of_them in zip(later, together, strict=True):
        np.testing.assert_array_equal(one, all_of_them[-4:])
    assert len({image.tobytes() for image in together.plain}) == n


def test_the_same_latent_bears_any_code(key):
    world = linear_space(key)
    codes = draw_codes(1, 2, bits=BITS)
    one, other = (issue_some(world, key, code[None]) for code in codes)
    np.testing.assert_array_equal(one.plain, other.plain)
    assert (one.marked != other.marked).any()


def test_large_images_are_made_in_small_batches(key, monkeypatch):
    world = linear_space(key)
    codes = np.tile(draw_codes(1, 1, bits=BITS), (5, 1))
    assert issuing.batch_of(world[0]) == issuing.BATCH
    sizes = {(256, 256, 3): 8, (1024, 1024, 3): 1, (4096, 4096, 3): 1, (128, 128, 3): 32}
    for shape, batch in sizes.items():
        assert issuing.batch_of(world[0]._replace(image_shape=shape)) == batch
    expected = issue_some(world, key, codes)
    monkeypatch.setattr(issuing, "PIXELS", 2 * 8 * 8)
    assert issuing.batch_of(world[0]) == 2
    found = issue_some(world, key, codes)
    assert np.abs(found.marked.astype(int) - expected.marked).max() <= 1
