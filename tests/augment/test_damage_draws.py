"""Drawn damages have the promised shares and ranges, and survive the way through coordinates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest

from latentfp import rng
from latentfp.augment import damage
from latentfp.augment.damage import NONE, PARTS

DRAWS = 20_000
CLEAN, MIXED = 0.3, 0.2
# name: (lowest, highest, how it is drawn: evenly on this scale); in the order of Damage
RANGES = {
    "degrees": (-30, 30, np.asarray),
    "scale": (0.5, 1, np.asarray),
    "down": (-0.25, 0.25, None),
    "right": (-0.25, 0.25, None),
    "blur": (0.3, 3, np.log),
    "brightness": (0.5, 2, np.log),
    "contrast": (0.5, 2, np.log),
    "noise": (0.02, 0.4, np.log),
    "quality": (10, 95, np.asarray),
}


@jax.jit
def draw_many(keys, clean, mixed):
    return jax.vmap(lambda key: damage.draw(key, clean=clean, mixed=mixed))(keys)


def draw_columns(key, n, clean, mixed):
    """Damages of n examples: every strength is a column [n]."""
    keys = jax.vmap(partial(rng.stream, key, "example"))(jnp.arange(n))
    return jax.tree.map(np.asarray, draw_many(keys, clean, mixed))


def parts_of(harm):
    """[n, PARTS]: which parts each damage has."""
    changed = {name: values != getattr(NONE, name) for name, values in harm._asdict().items()}
    return np.stack([np.any([changed[name] for name in names], axis=0) for names in PARTS], axis=1)


@pytest.fixture(scope="module")
def drawn():
    return draw_columns(jax.random.key(6), DRAWS, CLEAN, MIXED)


@pytest.fixture(scope="module")
def present(drawn):
    return parts_of(drawn)


def assert_share(found, share):
    """The count is none of the 1e-5 least likely of its binomial distribution."""
    low, high = binom.ppf(5e-6, DRAWS, share), binom.ppf(1 - 5e-6, DRAWS, share)
    assert low <= np.sum(found) <= high


def test_shares_of_clean_mixed_and_single(present):
    """A mixture draws each of seven parts by a fair coin: none with 2**-7, one alone with 7 · 2**-7."""
    parts = present.sum(axis=1)
    assert_share(parts == 0, CLEAN + MIXED / 128)
    assert_share(parts == 1, 1 - CLEAN - MIXED + MIXED * 7 / 128)
    assert_share(parts > 1, MIXED * 120 / 128)


@pytest.mark.parametrize("part", range(len(PARTS)), ids=[names[0] for names in PARTS])
def test_every_part_has_the_same_chance(present, part):
    alone = present[:, part] & (present.sum(axis=1) == 1)
    assert_share(alone, (1 - CLEAN - MIXED) / len(PARTS) + MIXED / 128)
    assert_share(present[:, part], (1 - CLEAN - MIXED) / len(PARTS) + MIXED / 2)


@pytest.mark.parametrize("name", RANGES)
def test_strengths_fill_their_ranges_evenly(drawn, name):
    low, high, scale = RANGES[name]
    values = getattr(drawn, name)
    values = values[values != getattr(NONE, name)].astype(float)
    assert low - 1e-5 <= values.min()
    assert values.max() <= high + 1e-5
    if scale is not None:
        place = (scale(values) - scale(low)) / (scale(high) - scale(low))
        assert kstest(place, "uniform").pvalue > 1e-5
        # Each part is present in 17 % of the draws: none of 3400 in the last 1/200 has chance exp(-17).
        assert place.min() < 0.005
        assert place.max() > 0.995


def test_half_of_the_crops_are_central_and_the_others_stay_inside(drawn):
    cropped = drawn.scale < 1
    central = (drawn.down == 0) & (drawn.right == 0)
    n, found = cropped.sum(), (cropped & central).sum()
    assert binom.ppf(5e-6, n, 0.5) <= found <= binom.ppf(1 - 5e-6, n, 0.5)
    assert central[~cropped].all()
    moved = cropped & ~central
    places = np.stack([drawn.down[moved], drawn.right[moved]]) / ((1 - drawn.scale[moved]) / 2)
    assert np.abs(places).max() <= 1 + 1e-6
    for place in places:
        assert kstest((place + 1) / 2, "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(places)[0, 1]) < 5 / moved.sum() ** 0.5, "down and right are independent"


@pytest.mark.parametrize(("clean", "mixed", "some"), [(1.0, 0.0, 0), (0.0, 0.0, 1), (0.0, 1.0, None)])
def test_chances_of_one_and_of_none(key, clean, mixed, some):
    parts = parts_of(draw_columns(key, 200, clean, mixed)).sum(axis=1)
    # Of 200 mixtures the mean number of parts is 3.5, with standard error 0.094; five of them.
    assert abs(parts.mean() - 3.5) < 0.47 if some is None else (parts == some).all()


def test_draws_compiled_and_eager_are_the_same(key):
    compiled = jax.jit(lambda key: damage.draw(key, clean=0.0, mixed=1.0))
    for index in range(3):
        one = rng.stream(key, "example", index)
        eager = damage.draw(one, clean=0.0, mixed=1.0)
        np.testing.assert_allclose(np.asarray(compiled(one)), np.asarray(eager), rtol=1e-6)


def test_coordinates_are_inverted(drawn):
    values = jax.vmap(damage.coordinates)(drawn)
    assert values.shape == (DRAWS, damage.SIZE)
    back = jax.vmap(damage.from_coordinates)(values)
    for name, wanted in drawn._asdict().items():
        # 100 - quality and 1 - scale lose eps32 = 6e-8 of the 100 and of the 1.
        np.testing.assert_allclose(getattr(back, name), wanted, rtol=2e-6, atol=1e-6, err_msg=name)
