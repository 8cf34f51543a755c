"""What every attack on files promises, and what the named suites hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.augment.blur import gaussian_blur
from latentfp.augment.codecs import libjpeg
from latentfp.augment.colour import brightness, contrast
from latentfp.augment.geometry import crop_and_resize, rotate
from latentfp.augment.noise import gaussian_noise
from latentfp.augment.suites import SUITES, suite
from latentfp.pixels import to_float, to_pixels

# Adversarial ones are minutes of gradients when compiled in a hurry: see test_adversarial.py.
PIXELS = np.random.default_rng(4).integers(0, 256, (31, 45, 3), dtype=np.uint8)
ATTACKS = {
    f"{name}/{attack.name}": attack
    for name, attacks in SUITES.items()
    for attack in attacks
    if not attack.name.startswith("adversarial")
}
RANDOM = {"nie2023/noise", "nie2023/combination"} | {
    f"robustness/{name}"
    for name in (
        "noise 0.05 of [0,1]",
        "noise 0.1 of [0,1]",
        "noise 0.2 of [0,1]",
        "combination",
        "Kim 2021",
        "WOUAF",
        "WAVES geometric",
        "WAVES degradation",
        "WAVES all",
    )
}
RANDOM |= {
    f"waves/{name} at {strength}" for name in ("crop", "erasing", "noise") for strength in ("0.5", "1")
}
RANDOM |= {f"waves/{name}" for name in ("geometric", "degradation", "all")}
RANDOM |= {f"waves/regenerated{times}" for times in ("", " twice", " 4 times")}
RANDOM |= {
    f"markdiffusion/{name}" for name in ("noise 25/255", "masks", "strokes", "adaptive noise", "purified 0.3")
}
RANDOM |= {f"geometry/perspective {distortion}" for distortion in (0.1, 0.3, 0.5)}
RANDOM |= {"posted/border 0.1", "posted/text 0.35", "posted/erased 0.25"}
RANDOM |= {"posted/rotation by any angle", "posted/shrunk in a frame 0.8"}
RANDOM |= {f"pixels/salt and pepper {amount}" for amount in (0.01, 0.05)}
NIE = {attack.name: attack.apply for attack in suite("nie2023")}
ROBUSTNESS = {attack.name: attack.apply for attack in suite("robustness")}


@pytest.fixture
def pixels():
    return PIXELS


@functools.cache
def attacked(apply, stream):
    """The image of PIXELS after an attack: each composition is compiled and run once."""
    return apply(rng.stream(jax.random.key(20230727), stream), PIXELS)


@pytest.mark.parametrize("name", ATTACKS)
def test_pixels_in_pixels_out_decided_by_the_key(name):
    apply, before = ATTACKS[name].apply, PIXELS.copy()
    first, other = attacked(apply, "a"), attacked(apply, "b")
    assert isinstance(first, np.ndarray)
    assert first.dtype == np.uint8
    assert first.shape == PIXELS.shape
    np.testing.assert_array_equal(PIXELS, before)
    assert np.array_equal(first, other) == (name not in RANDOM)
    assert np.array_equal(first, PIXELS) == name.endswith("/none")


def test_the_same_key_gives_the_same_pixels(key):
    for apply in {attack.apply for name, attack in ATTACKS.items() if name in RANDOM}:
        np.testing.assert_array_equal(apply(rng.stream(key, "a"), PIXELS), attacked(apply, "a"))


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


def test_the_rows_of_robustness():
    names = ["none", "blur 0.5", "blur 1", "blur 2", "blur 3"]
    names += ["noise 0.05 of [0,1]", "noise 0.1 of [0,1]", "noise 0.2 of [0,1]"]
    names += ["JPEG 80", "JPEG 50", "JPEG 30", "JPEG 10", "crop 0.8", "crop 0.5"]
    names += ["rotation -30", "rotation -10", "rotation 10", "rotation 30"]
    names += [f"{colour} {factor}" for colour in ("brightness", "contrast") for factor in (0.5, 0.75, 1.5, 2)]
    names += ["combination", "Kim 2021", "Stable Signature", "WOUAF"]
    names += ["WAVES photometric", "WAVES geometric", "WAVES degradation", "WAVES all"]
    assert list(ROBUSTNESS) == names


def test_the_settings_of_robustness_are_those_of_their_names(key, pixels):
    image = jnp.asarray(to_float(pixels))
    operations = {
        "blur": lambda sigma: gaussian_blur(image, sigma=sigma, kernel_size=25),
        "noise": lambda std: gaussian_noise(rng.stream(key, "attack/step", 0), image, std=2 * std),
        "crop": lambda scale: crop_and_resize(image, scale=scale),
        "rotation": lambda degrees: rotate(image, degrees=degrees),
        "brightness": lambda factor: brightness(image, factor=factor),
        "contrast": lambda factor: contrast(image, factor=factor),
    }
    for name, apply in ROBUSTNESS.items():
        family, number = [*name.split(), ""][:2]
        if family in operations:
            levels = 127.5 * (np.asarray(operations[family](float(number))) + 1)
            # The nearest whole level; half a level, as halving makes often, has two.
            np.testing.assert_allclose(apply(key, pixels), levels, rtol=0, atol=0.501, err_msg=name)
        elif family == "JPEG":
            np.testing.assert_array_equal(apply(key, pixels), libjpeg(pixels, quality=int(number)))
    np.testing.assert_array_equal(ROBUSTNESS["combination"](key, pixels), NIE["combination"](key, pixels))


@pytest.mark.parametrize("name", SUITES)
def test_no_setting_occurs_twice(name):
    attacks = [attack for path, attack in ATTACKS.items() if path.startswith(f"{name}/")]
    assert len({attacked(attack.apply, "a").tobytes() for attack in attacks}) == len(attacks) > 5


def test_there_are_more_than_forty_settings():
    settings = {name.split("/")[1] for name in ATTACKS}
    assert len(settings) > 90
