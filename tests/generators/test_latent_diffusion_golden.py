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
from latentfp.checkpoints import formats
from latentfp.checkpoints import latent_diffusion_names as names
from latentfp.checkpoints.adopt import adopt
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.generators.generator import Generator
from latentfp.generators.latent_diffusion import first_stage as stages
from latentfp.generators.latent_diffusion import model
from latentfp.generators.latent_diffusion.diffusion import Step, ddim, ddim_step, leading, linear, spaced
from latentfp.generators.latent_diffusion.first_stage import FirstStage
from latentfp.generators.latent_diffusion.unet import sinusoids

pytestmark = [pytest.mark.golden, pytest.mark.slow]

PASS, DDIM = 1e-4, 5e-4


class Networks(NamedTuple):
    """Imported networks and the golden numbers, NHWC."""

    nets: model.LatentDiffusion
    params: dict[str, Any]
    golden: dict[str, Any]
    generator: Generator

    def epsilon(self, z, times):
        return model.denoise(self.nets.denoiser, self.params["denoiser"], z, times)


def channels_last(numbers: Path) -> dict[str, Any]:
    stored = dict(np.load(numbers))
    return {name: jnp.asarray(np.moveaxis(x, -3, -1)) if x.ndim >= 4 else x for name, x in stored.items()}


def below(tensors, prefix):
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


@functools.cache
def compvis(folder: Path) -> Networks:
    networks = imported(folder / "model.ckpt", folder / "io.npz")
    unet = networks.nets.denoiser
    tensors = below(flatten(read_tensors(folder / "model.ckpt")), "state_dict.model.diffusion_model.")
    template = jax.eval_shape(lambda: model.init(networks.nets, rng.root(0)))["denoiser"]
    networks.params["raw"] = adopt(tensors, names.compvis_unet(template, unet), template)
    return networks


@functools.cache
def diffusers(folder: Path) -> Networks:
    return imported(folder, folder / "io.npz")


def imported(path: Path, numbers: Path) -> Networks:
    found, _ = formats.read(path, formats.recognise(path))
    assert found.kind == "latent_diffusion"
    nets = model.networks(**{name: found.fields[name] for name in ("size", "first_stage", "denoiser")})
    return Networks(nets, found.params, channels_last(numbers), model.make(**found.fields, steps=10, eta=0.0))


def first_stage(folder: Path):
    found, _ = formats.read(folder, formats.recognise(folder))
    assert found.kind == "first_stage"
    return FirstStage(**found.fields["network"]), found.params, found.fields


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
    nets, params, numbers, _ = layout(golden(folder))
    stage, weights = nets.first_stage, params["first_stage"]
    check_first_stage(stage, weights, numbers)
    assert_near(stages.quantise(jnp.asarray(numbers["h"]), weights["codebook"]), numbers["z_q"])
    assert_near(model.decode(stage, weights, jnp.asarray(numbers["zr"])), numbers["dec_zr"])
    for z, expected in (("h", "rec_noquant"), ("zr", "dec_zr_noquant")):
        assert_near(plainly(stage, weights, numbers[z]), numbers[expected])


def test_early_names(golden):
    folder = golden("ldm_diffusers")
    stage, params, fields = first_stage(folder / "vqvae_early_names")
    assert fields["scale"] == 0.18215
    numbers = channels_last(folder / "io.npz")
    check_first_stage(stage, params, numbers, image="early_image", h="early_h", rec="early_rec")


def test_kl_first_stage(golden):
    folder = golden("kl_diffusers")
    stage, params, fields = first_stage(folder)
    numbers = channels_last(folder / "io.npz")
    moments = model.moments(stage, params, numbers["image"])
    assert_near(moments, numbers["moments"])
    found = stages.posterior(moments)
    assert_near(found.mean, numbers["mean"])
    assert_near(found.log_variance, numbers["logvar"])
    assert_near(stages.draw(found, numbers["noise"]), numbers["sample"])
    assert_near(stages.divergence(found), numbers["kl"])
    assert_near(model.decode(stage, params, jnp.asarray(numbers["mean"])), numbers["rec"])
    scaled = jnp.asarray(numbers["zr"]) / fields["scale"]
    assert_near(model.decode(stage, params, scaled), numbers["dec_zr_scaled"])


def test_denoisers(golden):
    nets, params, numbers, _ = compvis(golden("ldm_vq_f4"))
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
    nets, params, numbers, generator = diffusers(golden("ldm_diffusers"))
    w = model.flatten(jnp.asarray(numbers["ddim10_sample"]))
    assert_near(generator.synthesize(params, w), numbers["ddim10_image"], DDIM)
    z = jnp.asarray(numbers["ddim10_sample"]) / 0.18215
    assert_near(plainly(nets.first_stage, params["first_stage"], z), numbers["ddim10_image_noquant"], DDIM)


@pytest.mark.parametrize("layout", [compvis, diffusers])
def test_samples_of_an_imported_generator(golden, layout, monkeypatch):
    """From the noise of the golden run, at η = 0, where no other noise is used."""
    networks = layout(golden({"compvis": "ldm_vq_f4", "diffusers": "ldm_diffusers"}[layout.__name__]))
    start = jnp.asarray(networks.golden["x_T"])
    monkeypatch.setattr(jax.random, "normal", lambda _key, _shape: start)
    made = networks.generator.sample(networks.params, rng.root(0), len(start))
    assert_near(made, model.flatten(jnp.asarray(networks.golden["ddim10_sample"])), DDIM)
