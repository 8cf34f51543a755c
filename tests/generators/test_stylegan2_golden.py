"""Our StyleGAN2 against numbers of two public implementations, on the weights of their own checkpoints.

Tolerance: the reference moves by 2e-6 of max(1, max |x|) between float32 and float64, and 1e-4 is what the
golden files ask of a float32 reimplementation.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import foreign_discriminators
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.checkpoints import stylegan2
from latentfp.checkpoints.adopt import restore
from latentfp.checkpoints.stylegan2 import Imported, read_network
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.generators.stylegan2 import model, ops
from latentfp.generators.stylegan2.layers import apply, leaky
from latentfp.generators.stylegan2.networks import (
    Discriminator,
    broadcast,
    mix,
    normalize,
    resolutions,
    sample,
)

pytestmark = [pytest.mark.golden, pytest.mark.slow]

TOLERANCE = 1e-4
UNLABELLED = [("network.pkl", "io.npz"), ("network_sg3.pkl", "io_sg3.npz")]
LABELLED = ("network_cond.pkl", "io_cond.npz")
BATCH = 4


class Networks(NamedTuple):
    """An imported generator, its synthesis with every layer's output, and the golden numbers."""

    nets: model.StyleGAN2
    params: Any
    layers: Callable[..., Any]
    golden: dict[str, np.ndarray]

    def map(self, z) -> jax.Array:
        """w of z, and of the golden labels where the network has classes."""
        labels = [self.golden["c"]] if self.nets.mapping.classes else []
        return apply(self.nets.mapping, self.params["mapping"], *map(jnp.asarray, [z, *labels]))

    def synthesize(self, ws, noise) -> jax.Array:
        """Images [b, 3, h, w] for b dividing the one batch size that is compiled."""
        tiled = jnp.concatenate([ws] * (BATCH // len(ws)))
        return channels_first(self.layers(self.params["synthesis"], tiled, noise)[0][: len(ws)])


def prepare(imported: Imported, numbers: Path) -> Networks:
    nets = model.networks(**imported.fields)

    @jax.jit
    def layers(params, ws, noise):
        return nets.synthesis.apply({"params": params}, ws, noise, capture_intermediates=True)

    return Networks(nets, imported.params, layers, dict(np.load(numbers)))


def judged(imported: Imported) -> Callable[..., Any]:
    """The discriminator, images [b, h, w, 3] to logits and every layer's output."""
    apply = Discriminator(**imported.fields).apply
    return jax.jit(lambda images: apply({"params": imported.params}, images, capture_intermediates=True))


@functools.cache
def rosinality(folder: Path) -> Networks:
    return prepare(stylegan2.from_rosinality(read_tensors(folder / "ckpt.pt")), folder / "io.npz")


@functools.cache
def nvidia(folder: Path, network: str, numbers: str) -> Networks:
    return prepare(stylegan2.from_nvidia(*read_network(folder / network, "G_ema")), folder / numbers)


def channels_first(x) -> jax.Array:
    return jnp.transpose(x, (0, 3, 1, 2))


def given_noise(golden) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(golden[f"noise_{i}"][0, 0]) for i in range(7))


def no_noise(networks: Networks) -> tuple[jax.Array, ...]:
    return tuple(map(jnp.zeros_like, networks.params["noise"]))


def output(record) -> jax.Array:
    """What a module returned, from Flax's record of intermediate values."""
    return record["__call__"][0]


def running_images(record, size) -> list[jax.Array]:
    """The accumulated RGB image after every resolution, [b, 3, h, w]."""
    images = []
    for resolution in resolutions(size):
        rgb = output(record[f"b{resolution}_to_rgb"])
        images.append(ops.upsample(images[-1]) + rgb if images else rgb)
    return [channels_first(image) for image in images]


def assert_near(ours, expected) -> None:
    assert ours.shape == expected.shape
    assert np.abs(np.asarray(ours) - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())


class TestRosinality:
    @pytest.fixture
    def networks(self, golden):
        return rosinality(golden("sg2_rosinality_32"))

    def test_mapping_layer_by_layer(self, networks):
        numbers, mapping = networks.golden, networks.nets.mapping
        assert_near(normalize(jnp.asarray(numbers["z"])), numbers["pixelnorm_z"])
        variables = {"params": networks.params["mapping"]}
        w, record = mapping.apply(variables, jnp.asarray(numbers["z"]), capture_intermediates=True)
        for i in range(mapping.layers):
            layer = leaky(output(record["intermediates"][f"fc{i}"]))
            assert_near(layer, numbers[f"mapping_layer_{i + 1}"])
        assert_near(w, numbers["w"])
        assert_near(networks.map(numbers["z2"]), numbers["w2"])
        assert_near(networks.params["w_average"], numbers["latent_avg"])

    def test_synthesis_layer_by_layer(self, networks):
        numbers = networks.golden
        ws = broadcast(jnp.asarray(numbers["w"]), networks.nets.layers)
        _, state = networks.layers(networks.params["synthesis"], ws, given_noise(numbers))
        record = jax.tree.map(lambda x: x[:1], state["intermediates"])
        theirs = ["conv1", *(f"convs_{i}" for i in range(6))]
        ours = ["b4_conv1", *(f"b{r}_conv{i}" for r in (8, 16, 32) for i in (0, 1))]
        for their_name, our_name in zip(theirs, ours, strict=True):
            assert_near(channels_first(output(record[our_name])), numbers[f"act_{their_name}"])
        for their_name, our_name in zip(theirs[:2], ours[:2], strict=True):
            bare = channels_first(output(record[our_name]["conv"]))
            assert_near(bare, numbers[f"act_{their_name}_modconv_only"])
        names = ["act_to_rgb1", "act_to_rgbs_0", "act_to_rgbs_1", "act_to_rgbs_2"]
        for name, image in zip(names, running_images(record, 32), strict=True):
            assert_near(image, numbers[name])

    def test_images_of_w_with_each_kind_of_noise(self, networks):
        numbers = networks.golden
        ws = broadcast(jnp.asarray(numbers["w"]), networks.nets.layers)
        assert_near(networks.synthesize(ws, given_noise(numbers)), numbers["img_w"])
        assert_near(networks.synthesize(ws, networks.params["noise"]), numbers["img_z_bufnoise"])
        assert_near(networks.synthesize(ws, no_noise(networks)), numbers["img_w_zeronoise"])

    def test_images_of_one_latent_a_layer(self, networks):
        numbers = networks.golden
        noise = given_noise(numbers)
        assert_near(networks.synthesize(jnp.asarray(numbers["w_plus"]), noise), numbers["img_w_plus"])
        average = networks.params["w_average"]
        w, other = (broadcast(jnp.asarray(numbers[n][:2]), networks.nets.layers) for n in ("w", "w2"))
        made = {
            "mix_inject3": mix(w, other, jnp.array([3, 3])),
            "mix_default": mix(w, other, jnp.array([6, 6])),
            "trunc05": truncate(w, average, psi=0.5),
        }
        for name, ws in made.items():
            assert_near(ws, numbers[f"latent_{name}"])
            assert_near(networks.synthesize(ws, noise), numbers[f"img_{name}"])
        assert_near(networks.synthesize(w, noise), numbers["img_trunc05_latent_input"])

    def test_gradient_with_respect_to_w(self, networks):
        numbers = networks.golden

        def mean_square(w):
            ws, noise = broadcast(w, networks.nets.layers), given_noise(numbers)
            return jnp.mean(apply(networks.nets.synthesis, networks.params["synthesis"], ws, noise) ** 2)

        value, gradient = jax.jit(jax.value_and_grad(mean_square))(jnp.asarray(numbers["w"][:1]))
        assert_near(value[None], numbers["meansq"])
        assert_near(gradient, numbers["grad_w_meansq"])

    def test_discriminator(self, networks, golden):
        numbers = networks.golden
        tree = read_tensors(golden("sg2_rosinality_32") / "ckpt.pt")
        judge = judged(foreign_discriminators.from_rosinality(tree))
        images = np.concatenate([numbers["img_w"], numbers["img_z_bufnoise"]]).transpose(0, 2, 3, 1)
        for n in (1, 2, 4, 8):
            logits, state = judge(images[:n])
            assert_near(logits[:, None], numbers[f"d_logits_{n}"])
            record = jax.tree.map(lambda x: x[:1], state["intermediates"])
            assert_near(channels_first(leaky(output(record["from_rgb"]))), numbers["d_act_convs_0"])
            for i, size in enumerate((32, 16, 8)):
                assert_near(channels_first(output(record[f"b{size}"])), numbers[f"d_act_convs_{i + 1}"])


def check_blocks(networks: Networks) -> None:
    """The features and the accumulated image of every resolution, for the first of the given latents."""
    numbers = networks.golden
    ws = jnp.asarray(numbers["ws"])
    _, state = networks.layers(networks.params["synthesis"], ws, networks.params["noise"])
    record = jax.tree.map(lambda x: x[:1], state["intermediates"])
    for size, image in zip(resolutions(32), running_images(record, 32), strict=True):
        assert_near(channels_first(output(record[f"b{size}_conv1"])), numbers[f"act_b{size}_x"])
        assert_near(image, numbers[f"act_b{size}_img"])


def truncate(ws, average, *, psi, cutoff=None):
    """The first `cutoff` layers pulled towards the average, as both implementations do."""
    pulled = average[None, None] + psi * (ws - average[None, None])
    return pulled.at[:, cutoff:].set(ws[:, cutoff:]) if cutoff else pulled


def check_images(networks: Networks, ws, truncated, partly) -> None:
    numbers, noise, none = networks.golden, networks.params["noise"], no_noise(networks)
    assert_near(networks.synthesize(ws, noise), numbers["img_const"])
    assert_near(networks.synthesize(ws, none), numbers["img_none"])
    assert_near(networks.synthesize(truncated, noise), numbers["img_const_psi05"])
    assert_near(networks.synthesize(partly, none), numbers["img_none_psi07_cutoff4"])
    assert_near(networks.synthesize(jnp.asarray(numbers["ws_mixed"]), none), numbers["img_mixed_none"])


@pytest.mark.parametrize("files", [*UNLABELLED, LABELLED], ids=str)
class TestNvidia:
    def test_latents_and_images(self, golden, files):
        networks = nvidia(golden("sg2_nvidia_32"), *files)
        numbers, average = networks.golden, networks.params["w_average"]
        w = networks.map(numbers["z"])
        ws = broadcast(w, networks.nets.layers)
        truncated, partly = truncate(ws, average, psi=0.5), truncate(ws, average, psi=0.7, cutoff=4)
        named = {"w": w, "ws": ws, "ws_psi05": truncated, "ws_psi07_cutoff4": partly}
        for name, ours in named.items():
            assert_near(ours, numbers[name])
        check_images(networks, ws, truncated, partly)

    def test_synthesis_block_by_block(self, golden, files):
        check_blocks(nvidia(golden("sg2_nvidia_32"), *files))


@pytest.mark.parametrize("files", UNLABELLED, ids=str)
def test_nvidia_discriminator(golden, files):
    network, numbers = files
    folder = golden("sg2_nvidia_32")
    judge = judged(foreign_discriminators.from_nvidia(*read_network(folder / network, "D")))
    expected = np.load(folder / numbers)
    images = expected["img_const"].transpose(0, 2, 3, 1)
    for n in (1, 4):
        assert_near(judge(images[:n])[0][:, None], expected[f"d_logits_{n}"])


def test_network_with_classes(golden):
    """It clamps its activations at 1.5, which they reach; latents are drawn of every class."""
    networks = nvidia(golden("sg2_nvidia_32"), *LABELLED)
    assert (networks.nets.synthesis.clamp, networks.nets.mapping.classes) == (1.5, 5)
    w = sample(networks.nets.mapping, networks.params["mapping"], jax.random.key(0), 64)
    z = jax.random.normal(jax.random.key(0), (64, networks.nets.mapping.latent_dim))
    of_class = [
        apply(networks.nets.mapping, networks.params["mapping"], z, jnp.tile(label, (64, 1)))
        for label in jnp.eye(5)
    ]
    nearest = np.argmin([np.abs(w - other).max(axis=1) for other in of_class], axis=0)
    np.testing.assert_allclose(w, np.stack(of_class)[nearest, np.arange(64)], atol=1e-5)
    assert (np.bincount(nearest, minlength=5) >= 4).all()


def test_golden_checkpoints_are_given_back_bit_for_bit(golden):
    """Imported and written again: every tensor of the generator under its name, in its shape."""
    folder = golden("sg2_rosinality_32")
    source = {
        name: x for name, x in flatten(read_tensors(folder / "ckpt.pt")).items() if not name.startswith("d.")
    }
    imported = stylegan2.from_rosinality(read_tensors(folder / "ckpt.pt"))
    assert_given_back(imported, stylegan2.rosinality_generator, source)
    for file, _ in (*UNLABELLED, LABELLED):
        settings, tensors = read_network(golden("sg2_nvidia_32") / file, "G_ema")
        table = functools.partial(stylegan2.nvidia_generator, labelled="mapping.embed.weight" in tensors)
        assert_given_back(stylegan2.from_nvidia(settings, tensors), table, tensors)


def assert_given_back(imported, table, source):
    found = restore(imported.params, table(32, imported.fields["mapping_layers"]))
    assert found.keys() == source.keys()
    for name, x in found.items():
        np.testing.assert_array_equal(x, source[name], err_msg=name, strict=True)
