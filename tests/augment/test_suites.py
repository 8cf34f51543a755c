"""What every attack on files promises, and what the named suites hold."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.geometry import crop_and_resize
from latentfp.augment.jpeg import libjpeg
from latentfp.augment.noise import gaussian_noise
from latentfp.augment.suites import SUITES, edited, in_order, suite
from latentfp.pixels import to_float, to_pixels

ATTACKS = {f"{name}/{attack.name}": attack for name, attacks in SUITES.items() for attack in attacks}
RANDOM = {"nie2023/noise", "nie2023/combination"}
NIE = {attack.name: attack.apply for attack in suite("nie2023")}


@pytest.fixture
def pixels():
    return np.random.default_rng(4).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ATTACKS)
def test_pixels_in_pixels_out_decided_by_the_key(name, key, pixels):
    before = pixels.copy()
    first, again, other = (ATTACKS[name].apply(rng.stream(key, stream), pixels) for stream in ("a", "a", "b"))
    assert isinstance(first, np.ndarray)
    assert first.dtype == np.uint8
    assert first.shape == pixels.shape
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name not in RANDOM)
    assert np.array_equal(first, pixels) == name.endswith("/none")


def test_names_are_unique_and_unknown_suites_name_the_known():
    for attacks in SUITES.values():
        assert len({attack.name for attack in attacks}) == len(attacks)
    with pytest.raises(ValueError, match=r"'waves2'.*nie2023"):
        suite("waves2")


def test_the_settings_of_the_paper(key, pixels):
    """The combination is blur, noise, one rounding, JPEG; the rest one operation each."""
    image = jnp.asarray(to_float(pixels))
    step = rng.stream(key, "attack/step", 0)
    blurred = gaussian_blur(image, sigma=0.5, kernel_size=25)
    expected = {
        "none": pixels,
        "blur": to_pixels(blurred),
        "noise": to_pixels(gaussian_noise(step, image, std=0.1)),
        "jpeg": libjpeg(pixels, quality=50, subsampling="4:2:0"),
        "crop": to_pixels(crop_and_resize(image, scale=0.8)),
    }
    assert list(NIE) == ["none", "blur", "noise", "jpeg", "combination", "crop"]
    for name, wanted in expected.items():
        # Another fusion may move a value across a half: one grey level, on few pixels.
        difference = np.abs(NIE[name](key, pixels).astype(int) - wanted)
        assert difference.max() <= 1
        assert difference.mean() < 0.01
    first = rng.stream(key, "attack/stage", 0)
    noisy = to_pixels(gaussian_noise(rng.stream(first, "attack/step", 1), blurred, std=0.1))
    difference = np.abs(NIE["combination"](key, pixels).astype(int) - libjpeg(np.asarray(noisy), quality=50))
    assert difference.mean() < 0.5


@pytest.mark.parametrize(
    "chain", [edited, lambda *steps: in_order(*map(edited, steps))], ids=["edited", "in_order"]
)
def test_steps_draw_independent_noise(chain, key):
    """Two independent noises of 0.1 have the standard deviation 0.1 √2; one noise twice would have 0.2."""

    def noise(key, image):
        return gaussian_noise(key, image, std=0.1)

    grey = np.full((64, 64, 3), 128, np.uint8)
    std = to_float(chain(noise, noise)(key, grey)).std()
    # Standard error 0.1 √2 / √(2 · 12288) = 0.0009; rounding adds 0.3 grey levels in quadrature, 1e-4.
    assert abs(std - 0.1 * 2**0.5) < 0.005
