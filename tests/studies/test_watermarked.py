"""Marked images: what they follow from, and noise maps that are fresh for each."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.augment.suites import suite
from latentfp.deployment.copies import BATCH
from latentfp.fingerprint.codes import draw_codes
from latentfp.studies.context import (
    attack_of,
    marked_images,
    marked_with_fresh_noise,
    open_context,
    through_files,
)


@pytest.fixture(scope="module")
def subject(bare_deployment):
    return open_context(bare_deployment, seed=0).subject


def noisy(subject):
    """The subject with a noise map, 0.5 unless it is renewed: then number i of a call gets i / 100."""
    usual = subject.generator

    def synthesize(params, w):
        return usual.synthesize(params["usual"], w) + params["noise"].reshape(-1, 1, 1, 1)

    def sample(params, key, n):
        return usual.sample(params["usual"], key, n)

    def renoise(params, key, n):
        del key
        return {**params, "noise": jnp.arange(n) / 100}

    generator = usual._replace(sample=sample, synthesize=synthesize, renoise=renoise)
    return subject._replace(
        generator=generator, params={"usual": subject.params, "noise": jnp.full((1,), 0.5)}
    )


def test_an_image_follows_from_its_number(subject):
    codes = draw_codes(1, 5, bits=32, min_distance=1)
    all_of_them = marked_images(subject, codes, seed=3)
    np.testing.assert_array_equal(marked_images(subject, codes[3:], seed=3, first=3), all_of_them[3:])
    assert (marked_images(subject, codes, seed=4) != all_of_them).any()


def test_noise_maps_are_fresh_for_every_image(subject):
    codes = draw_codes(1, BATCH + 2, bits=32, min_distance=1)
    usual = marked_images(subject, codes, seed=3).astype(int)
    fresh = marked_with_fresh_noise(noisy(subject), codes, seed=3).astype(int)
    inside = (usual > 60) & (fresh > 60) & (usual < 150) & (fresh < 150)  # nothing was limited
    added = np.array([np.median((f - u)[i]) for f, u, i in zip(fresh, usual, inside, strict=True)])
    # i / 100 in units of 127.5 to a byte, rounded twice
    np.testing.assert_allclose(added, [*np.arange(BATCH) * 1.275, 0, 1.275], atol=1.5)


def test_without_noise_maps_nothing_is_fresh(subject):
    with pytest.raises(ValueError, match="no noise maps"):
        marked_with_fresh_noise(subject, np.ones((1, 32), bool), seed=0)


def test_clean_files_come_back_as_they_were(subject):
    images = marked_images(subject, draw_codes(1, 3, bits=32), seed=0)
    np.testing.assert_array_equal(through_files(images, attack_of("nie2023", "none"), seed=0), images)
    blurred = through_files(images, attack_of("nie2023", "blur"), seed=0)
    assert (blurred != images).any()
    noisy = through_files(images, attack_of("nie2023", "noise"), seed=0)
    rest = through_files(images[1:], attack_of("nie2023", "noise"), seed=0, first=1)
    np.testing.assert_array_equal(rest, noisy[1:])
    with pytest.raises(ValueError, match=f"acid.*expected one of {suite('nie2023')[0].name}"):
        attack_of("nie2023", "acid")
