"""Every name of the public implementations of latent diffusion means what their software computes with it.

Files are written from `public_latent_diffusion`, which knows nothing of the package's tables of names, and
the imported networks are compared with its float64 passes.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import public_latent_diffusion as public
import pytest
from latent_diffusion_files import CONFIGURATION, INDEX, SCHEDULER, UNET, VAE
from latent_diffusion_sizes import FIELDS
from public_latent_diffusion import CompVis, Diffusers, EarlyDiffusers, Part, Tensors
from safetensors.numpy import save_file
from torch_layout import write_tree

from latentfp.checkpoints import formats
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.first_stage import FirstStage

STAGE, DENOISER = FIELDS["first_stage"], FIELDS["denoiser"]
TIMES = [3, 700]
# float32 through a few dozen layers, relative to the largest value; 2e-6 seen, and 1e-4 is what two
# implementations of one network are held to.
FLOAT32 = 1e-5


def drawn(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


IMAGES, LATENTS = drawn(2, 8, 8, 3), drawn(2, 4, 4, 3)


def assert_near(ours, expected):
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= FLOAT32 * max(1.0, np.abs(expected).max())


def assert_stage(stage, params, moments, decoded, latent=3):
    assert_near(jax.jit(lambda p: model.moments(stage, p, jnp.asarray(IMAGES)))(params), moments)
    z = jnp.asarray(drawn(2, 4, 4, latent))
    assert_near(jax.jit(lambda p: model.decode(stage, p, z))(params), decoded)


def compvis(tensors, folder):
    """A checkpoint with averaged weights: `LitEma` takes the points out of the names that it keeps."""
    inner = "model.diffusion_model."
    state = {name: np.zeros_like(x) if name.startswith(inner) else x for name, x in tensors.items()}
    for name, x in tensors.items():
        if name.startswith(inner):
            state["model_ema." + name.removeprefix("model.").replace(".", "")] = x
    rates = {"model_ema.decay": np.ones((), np.float32), "model_ema.num_updates": np.ones((), np.int32)}
    path = write_tree(folder / "model.ckpt", {"state_dict": state | rates, "global_step": 7})
    (folder / "config.yaml").write_text(json.dumps(CONFIGURATION))  # JSON is YAML, too
    return path


def part(folder, settings, tensors):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings))
    contiguous = {name: np.array(x, order="C") for name, x in tensors.items()}
    save_file(contiguous, folder / "diffusion_pytorch_model.safetensors")


def pipeline(tensors, folder):
    """As `save_pretrained` writes an LDMPipeline."""
    for name, settings in (("vqvae", VAE), ("unet", UNET)):
        inside = {n.removeprefix(f"{name}."): x for n, x in tensors.items() if n.startswith(f"{name}.")}
        part(folder / name, settings, inside)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


@pytest.mark.parametrize(
    ("layout", "stage_name", "unet_name", "unet", "write"),
    [
        (CompVis(), "first_stage_model.", "model.diffusion_model.", public.compvis_unet, compvis),
        (Diffusers(), "vqvae.", "unet.", public.diffusers_unet, pipeline),
    ],
    ids=["compvis", "diffusers"],
)
def test_a_whole_latent_diffusion(tmp_path, layout, stage_name, unet_name, unet, write):
    tensors = Tensors(1)
    moments = public.moments(Part(tensors, stage_name), IMAGES, layout, **STAGE)
    decoded = public.decode(Part(tensors, stage_name), LATENTS, layout, **STAGE)
    told = unet(Part(tensors, unet_name), LATENTS, TIMES, **DENOISER)
    path = write(tensors, tmp_path)
    found, _ = formats.read(path, formats.recognise(path))
    nets = model.networks(**{name: found.fields[name] for name in ("size", "first_stage", "denoiser")})
    assert_stage(nets.first_stage, found.params["first_stage"], moments, decoded)
    times = jnp.asarray(TIMES, jnp.float32)
    weights = found.params["denoiser"]
    assert_near(
        jax.jit(lambda p: model.denoise(nets.denoiser, p, jnp.asarray(LATENTS), times))(weights), told
    )


@pytest.mark.parametrize(
    ("layout", "codes", "latent", "settings"),
    [
        (Diffusers(), 0, 4, {"_class_name": "AutoencoderKL", "latent_channels": 4, "sample_size": 32}),
        (EarlyDiffusers(), 16, 3, {}),
    ],
    ids=["kl", "early names"],
)
def test_a_first_stage_alone(tmp_path, layout, codes, latent, settings):
    fields, tensors = {**STAGE, "codes": codes, "latent": latent}, Tensors(2)
    moments = public.moments(Part(tensors), IMAGES, layout, **fields)
    decoded = public.decode(Part(tensors), drawn(2, 4, 4, latent), layout, **fields)
    part(tmp_path / "stage", {**VAE, **settings}, tensors)
    found, _ = formats.read(tmp_path / "stage", formats.recognise(tmp_path / "stage"))
    assert_stage(FirstStage(**found.fields["network"]), found.params, moments, decoded, latent)
