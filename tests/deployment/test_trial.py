"""The trial of a decoder: one that leads descents home passes, one that sees damage everywhere fails."""

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment
from small_decoder import small_decoder

from latentfp import rng
from latentfp.augment import damage
from latentfp.deployment import own, trial
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.trial import Trial, try_out
from latentfp.fingerprint.basis import coordinates
from latentfp.pixels import to_float

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_deployment(write_deployment(tmp_path_factory.mktemp("trial"), size=16, sigma=4.0))


@pytest.fixture(scope="module")
def bare(opened):
    """The generator without its encoder, which would read everything."""
    loaded = load_generator(opened)
    return loaded._replace(generator=loaded.generator._replace(encode=None))


@pytest.fixture
def without_encoder(monkeypatch, bare):
    monkeypatch.setattr(trial, "load_generator", lambda _: bare)


def decoder(**stated):
    """An untrained decoder that states these strengths of damage of every image."""
    made = small_decoder(content=16, bits=32, looks=1)
    harm = np.asarray(damage.coordinates(damage.Damage(**stated)))
    made.weights["move"]["bias"] = np.concatenate([np.zeros(16 + 32, np.float32), harm])
    return made


@pytest.mark.usefixtures("without_encoder")
class TestTrial:
    def test_a_decoder_that_only_knows_little_passes(self, opened):
        """It reads hardly a bit, but the descents from there explain every image."""
        tried = try_out(opened, decoder(), images=8)
        assert tried.images == tried.explained == 8
        assert tried.passed
        assert 0.3 < tried.read < 0.7
        assert tried.descended == 1

    @pytest.mark.parametrize("stated", [{"blur": 2.0}, {"degrees": 20.0}, {"contrast": 0.5}])
    def test_one_that_sees_damage_where_there_is_none_fails(self, opened, stated):
        tried = try_out(opened, decoder(**stated), images=8)
        assert tried.explained == 0
        assert not tried.passed

    def test_images_follow_from_the_seed(self, opened):
        one, again, other = (try_out(opened, decoder(), images=8, seed=seed) for seed in (0, 0, 1))
        assert one == again
        assert one.read != other.read


def test_half_of_the_images_are_enough():
    assert Trial(16, 0.5, 0.9, explained=8).passed
    assert not Trial(16, 0.5, 0.9, explained=7).passed
    assert str(Trial(16, 0.5, 0.925, explained=8)) == (
        "50.0 % of bits read right, 92.5 % after a descent, which explains 8 of 16 undamaged images"
    )


def test_own_images_bear_the_codes_that_they_are_said_to(opened):
    loaded = load_generator(opened)
    made = own.own(opened, loaded, images=6, seed=1, key=rng.root(2))
    assert made.codes.shape == (6, 32)
    assert 0.3 < made.codes.mean() < 0.7
    assert (made.codes[0] != made.codes[1]).any()
    encode = loaded.generator.encode
    assert encode is not None
    for shown, marked in ((made.issued.marked, True), (made.issued.plain, False)):
        latents = encode(loaded.params, jnp.asarray(to_float(shown)))
        levels = np.stack([coordinates(opened.space, latent) for latent in latents])
        assert ((levels > 0) == made.codes).all() == marked
