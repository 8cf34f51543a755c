"""Whole networks against the oracle: few pixels, few channels, random numbers in every slot."""

from functools import partial

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import pytest
from stylegan2_oracle import wide

from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.first_stage import FirstStage, PatchDiscriminator
from latentfp.generators.latent_diffusion.unet import UNet

# The longest path to a number has some 30 convolutions and norms, each a sum of up to 9 · 16 products. Each
# errs by √150 · 2⁻²⁴ with the signs of chance, of the largest number; all 30 one way would be 2.2e-5.
DEPTH_ROUNDING = 2.2e-5
TIMES = np.array([0.0, 640.0], np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def applied(net, params, *inputs):
    return jax.jit(lambda params, *inputs: net.apply({"params": params}, *inputs))(params, *inputs)


def assert_rounded(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=DEPTH_ROUNDING * np.abs(expected).max())


def faint(tree, name=""):
    """Weights of maps with a variance of 1e-6 or so, in which a norm shows its epsilon."""
    if isinstance(tree, dict):
        return {
            part: faint(branch, name if part in ("scale", "bias") else part) for part, branch in tree.items()
        }
    return tree if "norm" in name else np.float32(1e-3) * tree


STAGES = {
    "one level of codes": {"channels": (6,), "blocks": 2, "latent": 3, "codes": 7, "groups": 3},
    "two levels": {"channels": (4, 6), "blocks": 2, "latent": 3, "groups": 1},
    "three levels of codes": {"channels": (6, 2, 4), "blocks": 1, "latent": 2, "codes": 9, "groups": 2},
}


@pytest.mark.parametrize("fields", STAGES.values(), ids=STAGES)
def test_first_stage(fields):
    """Of images that are wider than high."""
    stage, images = FirstStage(**fields), normal(2, 8, 12, 3)
    factor = 2 ** (len(fields["channels"]) - 1)
    z = normal(2, 8 // factor, 12 // factor, fields["latent"])
    params = oracle.fan_scaled(stage, images)

    def both(params, images, z):
        return model.moments(stage, params, images), model.decode(stage, params, z)

    run = jax.jit(both)
    for weights in (params, faint(params)):
        moments, decoded = run(weights, images, z)
        assert moments.shape == (*z.shape[:3], fields["latent"] * (1 if "codes" in fields else 2))
        assert_rounded(moments, oracle.moments(weights, images, fields))
        assert_rounded(decoded, oracle.decode(weights, z, fields))


def test_large_features_are_computed_again_for_gradients(monkeypatch):
    fields = STAGES["two levels"]
    stage, z = FirstStage(**fields), normal(1, 4, 4, 3)
    params = oracle.fan_scaled(stage, normal(1, 8, 8, 3))

    def total(z):
        return jnp.sum(jnp.square(model.decode(stage, params, z)))

    kept, small = str(jax.make_jaxpr(jax.grad(total))(z)), jax.value_and_grad(total)(z)
    monkeypatch.setattr(stages, "LARGE", 0)
    again, large = str(jax.make_jaxpr(jax.grad(total))(z)), jax.value_and_grad(total)(z)
    assert ("remat" in kept, "remat" in again) == (False, True)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), small, large)


def test_decoding_without_quantising_takes_the_latent_as_it_is():
    fields = STAGES["one level of codes"]
    stage, z = FirstStage(**fields), normal(1, 4, 4, 3)
    params = oracle.fan_scaled(stage, normal(1, 4, 4, 3))

    def decode(params, z):
        return [
            stage.apply({"params": params}, z, quantised=choice, method=stage.decode)
            for choice in (False, True)
        ]

    plain, quantised = jax.jit(decode)(params, z)
    assert_rounded(plain, oracle.decode(params, z, {**fields, "codes": 0}))
    assert_rounded(quantised, oracle.decode(params, z, fields))
    assert np.abs(plain - quantised).max() > 0.1


@pytest.mark.parametrize("name", ["two levels", "three levels of codes"])
def test_reconstruction_of_each_image_alone(name):
    """By the mean; an image does not see the others."""
    fields = STAGES[name]
    stage, images = FirstStage(**fields), jnp.asarray(normal(3, 4, 4, 3))
    params = oracle.fan_scaled(stage, images)
    apply = jax.jit(lambda params, images: stage.apply({"params": params}, images))
    made = apply(params, images)
    assert_rounded(made, oracle.reconstruct(params, images, fields))
    np.testing.assert_array_equal(apply(params, images.at[1:].multiply(-2))[0], made[0])


def some(params):
    """Few enough of the fresh weights that they are quick to compile."""
    return params["encoder"]["conv_in"]["kernel"], params["codebook"]


def test_a_fresh_first_stage():
    stage = FirstStage((4, 4), 1, 2, 5, 2)
    init = jax.jit(lambda key: some(stages.init(stage, key, 8)))
    (kernel, codebook), again, other = (init(jax.random.key(seed)) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, (kernel, codebook), again)
    assert (kernel != other[0]).all()
    assert (codebook != other[1]).all()
    assert codebook.shape == (5, 2)
    assert np.abs(codebook).max() <= 1 / 5
    without = jax.eval_shape(lambda: stages.init(stage.clone(codes=0), jax.random.key(0), 8))
    assert without.keys() == {"encoder", "decoder", "before", "after"}


DENOISERS = {
    "one level": {"channels": (4,), "blocks": 1, "attention": (), "head": 4, "groups": 2},
    "one level with attention": {"channels": (8,), "blocks": 2, "attention": (0,), "head": 4, "groups": 4},
    "two levels": {"channels": (4, 6), "blocks": 2, "attention": (0,), "head": 2, "groups": 1},
    "three levels": {"channels": (2, 6, 4), "blocks": 1, "attention": (0, 2), "head": 2, "groups": 2},
}


@pytest.mark.parametrize("fields", DENOISERS.values(), ids=DENOISERS)
def test_denoiser(fields):
    net, z = UNet(latent=3, **fields), normal(2, 4, 8, 3)
    params = oracle.fan_scaled(net, z, TIMES)
    run = jax.jit(lambda *args: model.denoise(net, *args))
    for weights in (params, faint(params)):
        assert_rounded(run(weights, z, TIMES), oracle.unet(weights, z, TIMES, fields))


def test_a_fresh_denoiser_says_zero(key):
    nets = model.networks(
        size=8,
        first_stage={"channels": (4, 4), "blocks": 1, "latent": 2, "groups": 2},
        denoiser={"channels": (4,), "blocks": 1, "head": 4, "groups": 2},
    )
    last = jax.jit(lambda key: model.init(nets, key)["denoiser"]["conv_out"])(key)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), last)
    made = jax.eval_shape(lambda: model.init(nets, key))
    assert made.keys() == {"first_stage", "denoiser"}
    assert made["first_stage"] == jax.eval_shape(lambda: stages.init(nets.first_stage, key, 8))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_patch_discriminator(width):
    """The logits of 8×8 images, after one to three halvings."""
    net, images = PatchDiscriminator((4, 6, 4)[:width], groups=2), normal(2, 8, 8, 3)
    params = oracle.fan_scaled(net, images)
    actual = applied(net, params, images)
    assert actual.shape == (2, 8 // 2**width, 8 // 2**width)
    assert_rounded(actual, oracle.patches(params, images, width, 2))


def test_the_oracle_is_wide():
    """The oracle's float64 is what the comparisons rest on."""
    fields = DENOISERS["one level"]
    net, z = UNet(latent=3, **fields), normal(1, 2, 2, 3)
    params = oracle.fan_scaled(net, z, TIMES[:1])
    assert oracle.unet(params, z, TIMES[:1], fields).dtype == np.float64
    assert oracle.norm({"scale": wide([1]), "bias": wide([0])}, z[..., :1], 1, 0).dtype == np.float64


def test_channels_that_are_no_whole_heads_are_refused():
    unet = UNet(channels=(4, 6), blocks=1, latent=2, attention=(1,), head=4, groups=2)
    with pytest.raises(ValueError, match="6 channels are not heads of 4 each"):
        unet.init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)), jnp.zeros(1))
