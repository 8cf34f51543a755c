"""Autoencoders of large pipelines: what public files compute, and in how many ways folders hold them."""

import json
import os
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import public_latent_diffusion as public
import pytest
from latent_diffusion_files import VAE
from public_latent_diffusion import Diffusers, Part, Tensors
from safetensors.numpy import save_file

from latentfp.checkpoints import formats
from latentfp.choices import Format
from latentfp.generators import pretrained

REAL = Path(os.environ.get("LATENTFP_REAL") or Path(__file__).parents[3] / "shared" / "real")
STEM = "diffusion_pytorch_model"
SHAPE = {"channels": [32, 64], "blocks": 1, "latent": 4, "codes": 0}
KL = {**VAE, "_class_name": "AutoencoderKL", "latent_channels": 4, "sample_size": 8}
TINY = {
    "_class_name": "AutoencoderTiny",
    "encoder_block_out_channels": [4, 4],
    "decoder_block_out_channels": [4, 4],
    "num_encoder_blocks": [1, 2],
    "num_decoder_blocks": [2, 1],
    "latent_channels": 3,
}


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip(f"no public weights in {REAL}: they are not part of the repository")
    return REAL


@pytest.mark.parametrize(
    ("name", "file", "channels"),
    [("taesd", "", 4), ("taef1", "", 16), ("taef2", "taef2.safetensors", 32)],
)
def test_public_tiny_autoencoders_compute_what_their_author_says(real, tmp_path, name, file, channels):
    """Golden numbers in float32; 5e-6 seen, and 1e-4 is what two implementations are held to."""
    formats.import_generator(real / name / file, tmp_path / "out", size=128)
    loaded, golden = pretrained.load(str(tmp_path / "out")), np.load(real / name / "io.npz")
    assert loaded.generator.channels == channels
    assert loaded.generator.encode is not None
    images = jnp.asarray(golden["image"][None] / 127.5 - 1, jnp.float32)
    latents = golden["latent"].reshape(1, -1)
    np.testing.assert_allclose(loaded.generator.encode(loaded.params, images), latents, atol=1e-4)
    made = np.asarray(loaded.generator.synthesize(loaded.params, jnp.asarray(latents)))
    np.testing.assert_allclose((made + 1) / 2, golden["decoded"].transpose(0, 2, 3, 1), atol=1e-4)


def test_an_autoencoder_of_any_size_is_told_which(real):
    for path in (real / "taesd", real / "taef2" / "taef2.safetensors"):
        with pytest.raises(ValueError, match=r"any size: say with --size") as caught:
            formats.read(path, formats.recognise(path))
        assert str(path) in str(caught.value)


def numbered(*, prefix, first, pooled=False):
    """The layers of TINY as PyTorch names them."""
    random, found = np.random.default_rng(0), {}

    def conv(name, out, into, side=3, *, bias=True):
        found[f"{name}.weight"] = random.normal(size=(out, into, side, side)).astype(np.float32) / 6
        if bias:
            found[f"{name}.bias"] = random.normal(size=out).astype(np.float32) / 6

    def block(name, *, pool):
        for i in (0, 2, 4):
            conv(f"{name}.conv.{i}", 4, 4)
        if pool:
            conv(f"{name}.pool.0", 16, 4, 1, bias=False)
            conv(f"{name}.pool.3", 4, 16, 1, bias=False)
            found[f"{name}.pool.1.weight"], found[f"{name}.pool.1.bias"] = np.ones((2, 16), np.float32)

    conv(f"encoder.{prefix}0", 4, 3)
    block(f"encoder.{prefix}1", pool=False)
    conv(f"encoder.{prefix}2", 4, 4, bias=False)
    block(f"encoder.{prefix}3", pool=pooled)
    block(f"encoder.{prefix}4", pool=pooled)
    conv(f"encoder.{prefix}5", 3, 4)
    conv(f"decoder.{prefix}{first}", 4, 3)
    block(f"decoder.{prefix}{first + 2}", pool=pooled)
    block(f"decoder.{prefix}{first + 3}", pool=pooled)
    conv(f"decoder.{prefix}{first + 5}", 4, 4, bias=False)
    block(f"decoder.{prefix}{first + 6}", pool=False)
    conv(f"decoder.{prefix}{first + 7}", 3, 4)
    return found


def folder_of(path, settings, tensors, **files):
    """`files`: name of a file without its ending -> names of its tensors; one file, if none is given."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(settings))
    for name, inside in (files or {STEM: list(tensors)}).items():
        save_file({key: np.ascontiguousarray(tensors[key]) for key in inside}, path / f"{name}.safetensors")
    return path


def images_of(found):
    kind = pretrained.KINDS["first_stage"]
    generator = kind.make(**found.fields)
    w = jnp.asarray(np.random.default_rng(1).normal(size=(1, generator.latent_dim)), jnp.float32)
    return np.asarray(generator.synthesize(found.params, w))


def test_the_numbers_of_an_author_are_those_of_diffusers_and_a_layer_more(tmp_path):
    folder = folder_of(tmp_path / "tiny", TINY, numbered(prefix="layers.", first=0))
    save_file(numbered(prefix="", first=1), tmp_path / "tiny.safetensors")
    assert formats.recognise(tmp_path / "tiny.safetensors") is Format.TAESD
    one, _ = formats.read(folder, Format.DIFFUSERS, size=8)
    other, _ = formats.read(tmp_path / "tiny.safetensors", Format.TAESD, size=8)
    assert one.fields == other.fields
    np.testing.assert_array_equal(images_of(one), images_of(other))


def test_pooled_branches_are_found_and_used(tmp_path):
    tensors = numbered(prefix="", first=1, pooled=True)
    save_file(tensors, tmp_path / "a.safetensors")
    found, _ = formats.read(tmp_path / "a.safetensors", Format.TAESD, size=8)
    assert found.fields["network"]["pooled"] is True
    tensors["decoder.3.pool.3.weight"] = 2 * tensors["decoder.3.pool.3.weight"]
    save_file(tensors, tmp_path / "b.safetensors")
    other, _ = formats.read(tmp_path / "b.safetensors", Format.TAESD, size=8)
    assert np.abs(images_of(found) - images_of(other)).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act_fn": "silu"}, "act_fn is silu, supported is relu"),
        ({"encoder_block_out_channels": [4, 8]}, "supported is one width"),
        ({"num_decoder_blocks": [2, 2]}, "1 missing|missing"),
        ({"latent_channels": 5}, "unusable"),
        ({"upsample_fn": "bilinear"}, "upsample_fn is bilinear"),
        ({"scaling_factor": -1}, "scaling_factor is -1"),
    ],
)
def test_what_a_tiny_autoencoder_could_mean_otherwise_is_refused(tmp_path, changes, message):
    folder = folder_of(tmp_path / "tiny", {**TINY, **changes}, numbered(prefix="layers.", first=0))
    with pytest.raises(ValueError, match=message):
        formats.read(folder, Format.DIFFUSERS, size=8)


def test_numbered_layers_of_something_else_are_refused(tmp_path):
    tensors = {name: x for name, x in numbered(prefix="", first=1).items() if "decoder.6" not in name}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no tiny autoencoder's"):
        formats.read(tmp_path / "a.safetensors", Format.TAESD, size=8)


@pytest.fixture(scope="module")
def kl():
    """A small AutoencoderKL and what it makes of random latents."""
    tensors = Tensors(3)
    z = np.random.default_rng(1).normal(size=(1, 4, 4, 4)).astype(np.float32)
    public.moments(Part(tensors), np.zeros((1, 8, 8, 3), np.float32), Diffusers(), **SHAPE)
    return z, tensors, public.decode(Part(tensors), z, Diffusers(), **SHAPE)


def decoded(found, z):
    generator = pretrained.KINDS["first_stage"].make(**found.fields)
    w = (z - found.fields.get("shift", 0.0)) * found.fields["scale"]
    return np.asarray(generator.synthesize(found.params, jnp.asarray(w.transpose(0, 3, 1, 2).reshape(1, -1))))


def test_shards_hold_what_one_file_holds(kl, tmp_path):
    z, tensors, expected = kl
    names = sorted(tensors)
    shards = {f"{STEM}-0000{i + 1}-of-00002": names[i::2] for i in range(2)}
    folder = folder_of(tmp_path / "vae", KL, tensors, **shards)
    index = folder / f"{STEM}.safetensors.index.json"
    weight_map = {name: f"{file}.safetensors" for file, inside in shards.items() for name in inside}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    found, _ = formats.read(folder, Format.DIFFUSERS)
    np.testing.assert_allclose(decoded(found, z), expected, atol=1e-4)
    for wrong, message in (
        ({**weight_map, "more": f"{STEM}-00001-of-00002.safetensors"}, "do not name the same tensors: more"),
        ({**weight_map, "more": "../x.safetensors"}, "is no file beside it"),
        ({**weight_map, "more": "x.safetensors"}, "x.safetensors, which is not there"),
        ({}, "has no weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(ValueError, match=message):
            formats.read(folder, Format.DIFFUSERS)


@pytest.mark.parametrize(
    ("name", "dtype", "error"), [("fp16", np.float16, 5e-3), ("bf16", ml_dtypes.bfloat16, 5e-2)]
)
def test_a_variant_of_half_precision_alone_is_taken(kl, tmp_path, name, dtype, error):
    z, tensors, expected = kl
    half = {key: x.astype(dtype) for key, x in tensors.items()}
    folder = folder_of(tmp_path / "vae", KL, half, **{f"{STEM}.{name}": list(half)})
    found, _ = formats.read(folder, Format.DIFFUSERS)
    np.testing.assert_allclose(decoded(found, z), expected, atol=error)
    folder_of(tmp_path / "both", KL, tensors)
    save_file(
        {key: np.ascontiguousarray(0 * x) for key, x in half.items()},
        tmp_path / "both" / f"{STEM}.{name}.safetensors",
    )
    both, _ = formats.read(tmp_path / "both", Format.DIFFUSERS)
    np.testing.assert_allclose(decoded(both, z), expected, atol=1e-4)


def test_without_outer_convolutions_and_with_a_shift(kl, tmp_path):
    """As of Stable Diffusion 3 and FLUX: the same as where these convolutions change nothing."""
    z, tensors, _ = kl
    same = dict(tensors)
    for name, width in (("quant_conv", 8), ("post_quant_conv", 4)):
        same[f"{name}.weight"] = np.eye(width, dtype=np.float32)[:, :, None, None]
        same[f"{name}.bias"] = np.zeros(width, np.float32)
    with_them, _ = formats.read(folder_of(tmp_path / "with", KL, same), Format.DIFFUSERS)
    bare = {name: x for name, x in same.items() if "quant_conv" not in name}
    settings = {**KL, "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.5}
    without, _ = formats.read(folder_of(tmp_path / "without", settings, bare), Format.DIFFUSERS)
    assert without.fields["network"]["outer"] is False
    assert without.fields["shift"] == 0.5
    np.testing.assert_allclose(decoded(without, z), decoded(with_them, z), atol=1e-5)
    generators = [pretrained.KINDS["first_stage"].make(**it.fields) for it in (with_them, without)]
    images = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (1, 8, 8, 3)), jnp.float32)
    read = [
        np.asarray(g.encode(it.params, images))  # type: ignore[misc]
        for g, it in zip(generators, (with_them, without), strict=True)
    ]
    np.testing.assert_allclose(read[1], read[0] - 0.5 * KL["scaling_factor"], atol=1e-5)
    one_only = {**settings, "use_post_quant_conv": True}
    with pytest.raises(ValueError, match="use_post_quant_conv is True, supported is False"):
        formats.read(folder_of(tmp_path / "one", one_only, bare), Format.DIFFUSERS)
