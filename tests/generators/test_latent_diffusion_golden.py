"""Our latent diffusion against numbers of two public implementations, on the weights of their own files.

Tolerances are those of the golden files: 1e-4 of max(1, max |x|) for one pass, 5e-4 for DDIM.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp import rng
from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.checkpoints.adopt import adopt
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.first_stage import FirstStage
from latentfp.generators.latent_diffusion.samplers import Step, ddim, ddim_step
from latentfp.generators.latent_diffusion.schedule import leading, linear, spaced
from latentfp.generators.latent_diffusion.unet import sinusoids

pytestmark = [pytest.mark.golden, pytest.mark.slow]

PASS, DDIM = 1e-4, 5e-4
DENOISER = {"channels": (32, 64), "blocks": 1, "attention": (1,), "head": 32}
COMPVIS = {"channels": (32, 64, 128), "blocks": 1, "latent": 3, "codes": 256}
DIFFUSERS = {**COMPVIS, "channels": (32, 64, 32)}
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Networks(NamedTuple):
    """Imported networks and the golden numbers, NHWC."""

    nets: model.LatentDiffusion
    params: dict[str, Any]
    golden: dict[str, Any]

    def epsilon(self, z, times):
        return model.denoise(self.nets.denoiser, self.params["denoiser"], z, times)


def channels_last(numbers: Path) -> dict[str, Any]:
    stored = dict(np.load(numbers))
    return {name: jnp.asarray(np.moveaxis(x, -3, -1)) if x.ndim >= 4 else x for name, x in stored.items()}


def below(tensors, prefix):
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


@functools.cache
def compvis(folder: Path) -> Networks:
    nets = model.networks(size=64, first_stage=COMPVIS, denoiser=DENOISER)
    template = jax.eval_shape(lambda: model.init(nets, rng.root(0)))
    tensors = flatten(read_tensors(folder / "model.ckpt"))
    stage, unet = template["first_stage"], template["denoiser"]
    rules = names.compvis_unet(unet, nets.denoiser)
    averages = below(tensors, "state_dict.model_ema.")
    renamed = {name: "diffusion_model" + name.replace(".", "") for name in flat_names(rules)}
    params = {
        "first_stage": adopt(
            below(tensors, "state_dict.first_stage_model."), names.compvis_first_stage(stage), stage
        ),
        "raw": adopt(below(tensors, "state_dict.model.diffusion_model."), rules, unet),
        "denoiser": adopt({name: averages[key] for name, key in renamed.items()}, rules, unet),
    }
    return Networks(nets, params, channels_last(folder / "io.npz"))


def flat_names(table):
    return {rule.source for rule in table.rules.values()}


@functools.cache
def diffusers(folder: Path) -> Networks:
    nets = model.networks(size=64, first_stage=DIFFUSERS, denoiser=DENOISER)
    template = jax.eval_shape(lambda: model.init(nets, rng.root(0)))
    stage, unet = template["first_stage"], template["denoiser"]
    params = {
        "first_stage": adopt(
            flatten(read_tensors(folder / "vqvae" / WEIGHTS)),
            names.diffusers_first_stage(stage, nets.first_stage),
            stage,
        ),
        "denoiser": adopt(
            flatten(read_tensors(folder / "unet" / WEIGHTS)), names.diffusers_unet(unet, nets.denoiser), unet
        ),
    }
    return Networks(nets, params, channels_last(folder / "io.npz"))


def first_stage(folder: Path, file: str, fields, size: int, *, early: bool = False):
    stage = FirstStage(**fields)
    template = jax.eval_shape(lambda: stages.init(stage, rng.root(0), size))
    table = names.diffusers_first_stage(template, stage, early=early)
    return stage, adopt(flatten(read_tensors(folder / file)), table, template)


def assert_near(ours, expected, tolerance=PASS) -> None:
    assert ours.shape == expected.shape
    assert np.abs(np.asarray(ours) - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def check_first_stage(stage, params, numbers, *, image="image", h="h", rec="rec", gap="index_gap"):
    found = model.moments(stage, params, numbers[image])
    assert_near(found, numbers[h])
    if "indices" in numbers and h == "h":
        same = np.asarray(stages.nearest(found, params["codebook"])) == numbers["indices"]
        assert same[numbers[gap] > 1e-4].all()
    assert_near(model.decode(stage, params, jnp.asarray(numbers[h])), numbers[rec])


def plainly(stage, params, z):
    return stage.apply({"params": params}, z, quantised=False, method=stage.decode)


@pytest.mark.parametrize("layout", [compvis, diffusers])
def test_vq_first_stage(golden, layout):
    folder = {"compvis": "ldm_vq_f4", "diffusers": "ldm_diffusers"}[layout.__name__]
    nets, params, numbers = layout(golden(folder))
    stage, weights = nets.first_stage, params["first_stage"]
    check_first_stage(stage, weights, numbers)
    assert_near(stages.quantise(jnp.asarray(numbers["h"]), weights["codebook"]), numbers["z_q"])
    assert_near(model.decode(stage, weights, jnp.asarray(numbers["zr"])), numbers["dec_zr"])
    for z, expected in (("h", "rec_noquant"), ("zr", "dec_zr_noquant")):
        assert_near(plainly(stage, weights, numbers[z]), numbers[expected])


def test_early_names(golden):
    folder = golden("ldm_diffusers")
    fields = {"channels": (32, 32), "blocks": 1, "latent": 3, "codes": 64}
    file = "vqvae_early_names/diffusion_pytorch_model.bin"
    stage, params = first_stage(folder, file, fields, 32, early=True)
    numbers = channels_last(folder / "io.npz")
    check_first_stage(stage, params, numbers, image="early_image", h="early_h", rec="early_rec")


def test_kl_first_stage(golden):
    folder = golden("kl_diffusers")
    fields = {"channels": (32, 64, 32), "blocks": 1, "latent": 4}
    stage, params = first_stage(folder, WEIGHTS, fields, 64)
    numbers = channels_last(folder / "io.npz")
    moments = model.moments(stage, params, numbers["image"])
    assert_near(moments, numbers["moments"])
    found = stages.posterior(moments)
    assert_near(found.mean, numbers["mean"])
    assert_near(found.log_variance, numbers["logvar"])
    assert_near(stages.draw(found, numbers["noise"]), numbers["sample"])
    assert_near(stages.divergence(found), numbers["kl"])
    assert_near(model.decode(stage, params, jnp.asarray(numbers["mean"])), numbers["rec"])
    scaled = jnp.asarray(numbers["zr"]) / 0.18215
    assert_near(model.decode(stage, params, scaled), numbers["dec_zr_scaled"])


def test_denoisers(golden):
    nets, params, numbers = compvis(golden("ldm_vq_f4"))
    times = jnp.asarray(numbers["unet_t"], jnp.float32)
    assert_near(sinusoids(times, 32), numbers["t_sinusoid"])
    for weights, expected in (("raw", "eps_raw"), ("denoiser", "eps_ema")):
        assert_near(
            model.denoise(nets.denoiser, params[weights], numbers["unet_x"], times), numbers[expected]
        )
    other = diffusers(golden("ldm_diffusers"))
    times = jnp.asarray(other.golden["unet_t"], jnp.float32)
    assert_near(other.epsilon(other.golden["unet_x"], times), other.golden["eps"])


def check_ddim(networks: Networks, visits, steps: int) -> None:
    """Every step, and all in one loop."""
    numbers = networks.golden
    z, states = jnp.asarray(numbers["x_T"]), numbers[f"ddim{steps}_x"]
    step = jax.jit(functools.partial(ddim_step, networks.epsilon, eta=0.0))
    for i in range(len(visits.times)):
        where = Step(*(jnp.float32(column[i]) for column in visits))
        z, clean = step(z, where, jnp.zeros_like(z))
        assert_near(z, states[i + 1], DDIM)
        assert_near(clean, numbers[f"ddim{steps}_pred_x0"][i], DDIM)
    made = ddim(networks.epsilon, visits, rng.root(0), jnp.asarray(numbers["x_T"]), eta=0.0)
    assert_near(made, numbers[f"ddim{steps}_sample"], DDIM)


@pytest.mark.parametrize("steps", [10, 7])
def test_ddim_of_compvis(golden, steps):
    networks = compvis(golden("ldm_vq_f4"))
    numbers, visits = networks.golden, spaced(linear(), steps)
    np.testing.assert_array_equal(visits.times[::-1], numbers[f"ddim{steps}_timesteps"])
    np.testing.assert_allclose(linear(), numbers["alphas_cumprod"], rtol=2e-6)
    np.testing.assert_allclose(visits.signal[::-1], numbers[f"ddim{steps}_alphas"], rtol=2e-6)
    np.testing.assert_allclose(visits.signal_after[::-1], numbers[f"ddim{steps}_alphas_prev"], rtol=2e-6)
    check_ddim(networks, visits, steps)


@pytest.mark.parametrize("steps", [10, 7])
def test_ddim_of_diffusers(golden, steps):
    networks = diffusers(golden("ldm_diffusers"))
    visits = leading(linear(), steps)
    np.testing.assert_array_equal(visits.times, networks.golden[f"ddim{steps}_timesteps"])
    check_ddim(networks, visits, steps)


def test_images_of_the_whole_pipeline(golden):
    networks = diffusers(golden("ldm_diffusers"))
    nets, params, numbers = networks
    z = jnp.asarray(numbers["ddim10_sample"]) / 0.18215
    assert_near(plainly(nets.first_stage, params["first_stage"], z), numbers["ddim10_image_noquant"], DDIM)
    assert_near(model.decode(nets.first_stage, params["first_stage"], z), numbers["ddim10_image"], DDIM)
