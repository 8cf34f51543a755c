"""diffusers' autoencoders with random weights, as `save_pretrained` writes them, and what is made of them."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel  # type: ignore[attr-defined]

from latentfp.checkpoints import formats
from latentfp.choices import Format
from latentfp.generators import pretrained

SAME = 1e-4  # of max(1, max |x|): one pass in float32
LEVELS = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (8, 8, 16),
    "norm_num_groups": 4,
    "sample_size": 16,
}
LARGE = {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159}  # as of FLUX.1
MADE = {
    "Stable Diffusion": lambda: AutoencoderKL(**LEVELS, latent_channels=4),
    "FLUX": lambda: AutoencoderKL(**LEVELS, **LARGE, use_quant_conv=False, use_post_quant_conv=False),
    "VQ": lambda: VQModel(**LEVELS, latent_channels=3, num_vq_embeddings=32),
    "TAESD": lambda: AutoencoderTiny(),
    "TAEF1": lambda: AutoencoderTiny(latent_channels=16, num_encoder_blocks=(1, 2, 1, 1)),
}
SAVED = {
    "whole": {},
    "bin": {"safe_serialization": False},
    "fp16": {"variant": "fp16"},
    "shards": {"max_shard_size": "20KB"},
    "shards of fp16": {"variant": "fp16", "max_shard_size": "20KB"},
}


def assert_same(ours, theirs, *, error=SAME):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= error * max(1.0, np.abs(theirs).max())


@pytest.fixture(params=MADE)
def network(request):
    torch.manual_seed(3)
    return MADE[request.param]().eval()


@pytest.mark.parametrize("way", SAVED)
def test_autoencoders_compute_what_diffusers_does(network, tmp_path, way):
    half = "fp16" in way
    stored = network.half() if half else network
    stored.save_pretrained(tmp_path / "vae", **SAVED[way])
    network = network.float()  # the rounded numbers, in single precision
    formats.import_generator(tmp_path / "vae", tmp_path / "ours", form=Format.DIFFUSERS, size=16)
    loaded = pretrained.load(str(tmp_path / "ours"))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        found = network.encode(images)
        z = found.latent_dist.mean if hasattr(found, "latent_dist") else found.latents
        shift = getattr(network.config, "shift_factor", None) or 0.0
        w = (z - shift) * network.config.scaling_factor
        decoded = network.decode(w / network.config.scaling_factor + shift).sample
    assert loaded.generator.encode is not None
    pixels = jnp.asarray(images.permute(0, 2, 3, 1).numpy())
    flat = w.reshape(2, -1).numpy()
    assert_same(np.asarray(loaded.generator.encode(loaded.params, pixels)), flat)
    made = np.asarray(loaded.generator.synthesize(loaded.params, jnp.asarray(flat)))
    assert_same(made, decoded.permute(0, 2, 3, 1).numpy())
