"""Both public layouts of one random StyleGAN2 compute what a float64 restatement of it computes."""

import foreign_discriminators
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rosinality_oracle as oracle

from latentfp.checkpoints import stylegan2
from latentfp.checkpoints.adopt import restore
from latentfp.checkpoints.torch_files import flatten
from latentfp.generators.stylegan2 import model
from latentfp.generators.stylegan2.layers import apply
from latentfp.generators.stylegan2.networks import Discriminator

SHAPE = {"channels": [5, 4, 3], "latent_dim": 6, "mapping_layers": 2}
SETTINGS = {
    "c_dim": 0,
    "img_channels": 3,
    "mapping.fc0.bias_gain": 0.01,
    "synthesis.b4.conv1.conv_clamp": None,
}

# float32 against float64: 6e-8 of the largest value a layer, through about ten layers, times five; 2e-7 seen
FLOAT32 = 3e-6


@pytest.fixture(scope="module")
def tree():
    return oracle.random_checkpoint(np.random.default_rng(1), **SHAPE)


def assert_near(ours, expected):
    assert np.abs(ours - expected).max() <= FLOAT32 * max(1.0, np.abs(expected).max())


def test_the_generator_computes_what_the_definition_says(tree):
    imported = stylegan2.from_rosinality(tree)
    assert imported.fields == {"size": 16, **SHAPE}
    z = np.random.default_rng(2).standard_normal((2, 6)).astype(np.float32)
    nets, generator = model.networks(**imported.fields), model.make(**imported.fields)
    w = apply(nets.mapping, imported.params["mapping"], jnp.asarray(z))
    assert_near(w, oracle.mapping(tree, z))
    images = jax.jit(generator.synthesize)(imported.params, w)
    noises = [noise[0, 0] for noise in tree["g_ema"]["noises"].values()]
    expected = oracle.synthesis(tree, oracle.mapping(tree, z), noises)
    assert_near(np.transpose(images, (0, 3, 1, 2)), expected)
    np.testing.assert_array_equal(imported.params["w_average"], tree["latent_avg"])


def test_the_discriminator_computes_what_the_definition_says(tree):
    imported = foreign_discriminators.from_rosinality(tree)
    images = np.random.default_rng(3).standard_normal((3, 3, 16, 16)).astype(np.float32)
    logits = jax.jit(Discriminator(**imported.fields).apply)(
        {"params": imported.params}, images.transpose(0, 2, 3, 1)
    )
    assert_near(logits, oracle.discriminator(tree, images))


def test_both_layouts_give_the_same_parameters(tree):
    ours = stylegan2.from_nvidia(SETTINGS, oracle.nvidia_generator(tree))
    assert ours.fields == {"size": 16, **SHAPE, "z_dim": 6, "classes": 0, "clamp": None}
    jax.tree.map(np.testing.assert_array_equal, ours.params, stylegan2.from_rosinality(tree).params)
    settings = {**SETTINGS, "b4.mbstd.group_size": 2}
    judge = foreign_discriminators.from_nvidia(settings, oracle.nvidia_discriminator(tree))
    assert judge.fields == {"size": 16, "channels": SHAPE["channels"], "group": 2, "clamp": None}
    jax.tree.map(
        np.testing.assert_array_equal, judge.params, foreign_discriminators.from_rosinality(tree).params
    )


def test_parameters_are_given_back_as_the_tensors_that_they_were(tree):
    """Every tensor of both layouts, bit for bit, in its shape; blur kernels to float32."""
    shape = (16, SHAPE["mapping_layers"])
    source = {name: x for name, x in flatten(tree).items() if not name.startswith("d.")}
    params = stylegan2.from_rosinality(tree).params
    of_blocks = {f"synthesis.b{r}.resample_filter": oracle.FILTER for r in (4, 8, 16)}
    layouts = (
        (stylegan2.rosinality_generator(*shape), source),
        (stylegan2.nvidia_generator(*shape), oracle.nvidia_generator(tree) | of_blocks),
    )
    for table, expected in layouts:
        found = restore(params, table)
        if "latent_avg" in expected:
            expected = {**expected, "latent_avg": np.ravel(expected["latent_avg"])}
        assert found.keys() == expected.keys()
        for name, x in found.items():
            np.testing.assert_array_equal(x, np.float32(expected[name]), err_msg=name, strict=True)


def test_a_checkpoint_without_an_average_gets_an_estimate(tree):
    """The mean of 4096 draws: its error is the standard deviation of w / 64, here allowed five times."""
    imported = stylegan2.from_rosinality({"g_ema": tree["g_ema"]})
    assert imported.notes == ("no average latent in the file: estimated from 4096 fixed draws",)
    w = oracle.mapping(tree, np.random.default_rng(4).standard_normal((20_000, 6)))
    error = np.abs(imported.params["w_average"] - w.mean(0))
    assert (error < 5 * w.std(0) / 64).all()


@pytest.mark.parametrize("classes", [0, 5])
def test_z_and_w_of_different_sizes(classes):
    """NVIDIA's `Generator(z_dim=4, c_dim=classes, w_dim=6, …)`: the first layer reads z and the label."""
    draw = np.random.default_rng(7)
    tree = oracle.random_checkpoint(draw, **SHAPE)
    embed = {"weight": draw.standard_normal((6, 5)), "bias": draw.standard_normal(6)} if classes else {}
    tree["g_ema"]["style"][1]["weight"] = 100 * draw.standard_normal((6, 10 if classes else 4))
    tensors = oracle.nvidia_generator(tree) | {f"mapping.embed.{name}": x for name, x in embed.items()}
    imported = stylegan2.from_nvidia({**SETTINGS, "c_dim": classes}, tensors)
    assert (imported.fields["z_dim"], imported.fields["latent_dim"]) == (4, 6)
    z, labels = draw.standard_normal((5, 4)), np.eye(5)
    x = oracle.normalised(z)
    if classes:
        x = np.concatenate([x, oracle.normalised(np.add(*oracle.dense(labels, embed)))], axis=1)
    nets, given = model.networks(**imported.fields), [labels] if classes else []
    w = apply(
        nets.mapping, imported.params["mapping"], *(jnp.asarray(one, jnp.float32) for one in (z, *given))
    )
    assert_near(w, oracle.layers(tree, x))
    generator = model.make(**imported.fields)
    assert generator.latent_dim == 6
    assert generator.sample(imported.params, jax.random.key(0), 3).shape == (3, 6)
    back = stylegan2.to_nvidia(imported.fields, imported.params)
    jax.tree.map(np.testing.assert_array_equal, stylegan2.from_nvidia_state(back).params, imported.params)
    with pytest.raises(ValueError, match="which rosinality's cannot: use nvidia"):
        stylegan2.to_rosinality(imported.fields, imported.params)


def test_a_network_without_noise_maps_gets_those_of_a_seed(tree):
    """As `g_ema.state_dict()` of the port before it kept `noises`: the public 550000.pt of 256 pixels."""
    state = {name: x for name, x in tree["g_ema"].items() if name != "noises"}
    imported = stylegan2.from_rosinality({"g_ema": state, "latent_avg": tree["latent_avg"]})
    assert imported.noise_seed == 0
    assert imported.notes == ("no noise maps in the file: fixed ones are drawn from seed 0, which is kept",)
    expected = stylegan2.from_rosinality(tree).params | {"noise": model.fixed_noise(16, 0)}
    jax.tree.map(np.testing.assert_array_equal, imported.params, expected)


def test_some_noise_maps_are_not_enough(tree):
    noises = {name: x for name, x in tree["g_ema"]["noises"].items() if name != "noise_3"}
    with pytest.raises(ValueError, match=r"1 missing: g_ema\.noises\.noise_3"):
        stylegan2.from_rosinality({**tree, "g_ema": {**tree["g_ema"], "noises": noises}})


@pytest.mark.parametrize("repeated", [False, True])
def test_the_generator_inside_of_an_inverter(tree, repeated):
    """As pSp and e4e save: {"state_dict": {"encoder.…", "decoder.…"}, "opts", "latent_avg" [d] or [n, d]}."""
    average = tree["latent_avg"]
    encoder = {"encoder.input_layer.0.weight": np.ones((2, 3, 3, 3), np.float32)}
    decoder = {f"decoder.{name}": x for name, x in flatten(tree["g_ema"]).items()}
    saved = {"state_dict": encoder | decoder, "opts": {"output_size": 16, "start_from_latent_avg": True}}
    saved["latent_avg"] = np.tile(average, (6, 1)) if repeated else average
    imported = stylegan2.from_rosinality(saved)
    jax.tree.map(np.testing.assert_array_equal, imported.params, stylegan2.from_rosinality(tree).params)
    assert list(imported.ignored.values()) == [1]
    with pytest.raises(ValueError, match=r"latent_avg \(shape \[2, 6\]"):
        stylegan2.from_rosinality({**saved, "latent_avg": np.stack([average, -average])})


def test_half_precision_is_read_within_its_own_rounding(tree):
    """As `g_ema.half().state_dict()`: the blur kernels were rounded, too."""
    half = jax.tree.map(lambda x: np.asarray(x, np.float16), tree)
    found, exact = stylegan2.from_rosinality(half).params, stylegan2.from_rosinality(tree).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, exact)


def test_stylegan3_is_called_by_its_name(tree):
    """Tensors of `training.networks_stylegan3.Generator`: layers L0 … L14 by size and width, and an input."""
    names = ["synthesis.input.transform", "synthesis.L0_36_512.weight", "synthesis.L14_256_3.affine.weight"]
    tensors = {name: np.ones((3, 3), np.float32) for name in names} | {"mapping.w_avg": tree["latent_avg"]}
    with pytest.raises(ValueError, match=r"it is a StyleGAN3, .* only StyleGAN2 is read"):
        stylegan2.from_nvidia({"c_dim": 0}, tensors)


def test_a_state_without_its_settings_is_not_guessed(tree):
    with pytest.raises(ValueError, match=r"no settings \(where its layers clamp\): import the \.pkl"):
        stylegan2.from_nvidia_state({"G_ema": oracle.nvidia_generator(tree)})


def test_the_rest_of_a_training_checkpoint_is_ignored(tree):
    extra = {"g": tree["g_ema"], "g_optim": {"state": [np.ones(3)]}, "d_optim": {}, "args": {"size": 16}}
    imported = stylegan2.from_rosinality({**tree, **extra})
    jax.tree.map(np.testing.assert_array_equal, imported.params, stylegan2.from_rosinality(tree).params)


def test_misfits_are_reported_together(tree):
    tensors = flatten(tree)
    tensors.pop("g_ema.conv1.noise.weight")
    tensors["g_ema.extra"] = np.ones(1)
    tensors["g_ema.to_rgbs.0.upsample.kernel"] = oracle.FILTER
    tensors["g_ema.convs.2.activate.bias"] = np.full(3, np.nan)
    with pytest.raises(ValueError, match="a rosinality generator") as caught:
        stylegan2.from_rosinality(tensors)
    for name in (
        "conv1.noise.weight",
        "g_ema.extra",
        "upsample.kernel",
        "convs.2.activate.bias (not finite)",
    ):
        assert name in str(caught.value)


def test_another_kind_of_checkpoint_says_what_it_holds():
    with pytest.raises(ValueError, match=r"another kind of checkpoint\? It holds state_dict\.conv\.weight"):
        stylegan2.from_rosinality({"state_dict": {"conv.weight": np.ones((1, 1, 3, 3))}})


REFUSED = {
    "c_dim is 5, supported is 0": {"c_dim": 5},
    "mapping.fc0.bias_gain is 1.0": {"mapping.fc0.bias_gain": 1.0},
    "use_noise is False": {"synthesis.b8.conv0.use_noise": False},
    "activation is relu": {"synthesis.b8.conv0.activation": "relu"},
    "2 different values of conv_clamp": {"synthesis.b8.conv0.conv_clamp": 256},
}


@pytest.mark.parametrize("message", REFUSED)
def test_networks_that_would_compute_something_else_are_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        stylegan2.from_nvidia({**SETTINGS, **REFUSED[message]}, oracle.nvidia_generator(tree))
