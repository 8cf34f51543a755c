"""Fingerprint what a diffusers pipeline makes, and name the users of the files; see docs/your_pipeline.md.

The pipeline is yours: any that decodes its latents with an AutoencoderKL and takes `callback_on_step_end`, as
StableDiffusionPipeline does. Nothing here imports PyTorch, and an investigator does not need it: `encoder`
runs the pipeline's autoencoder in Flax.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import ALPHA, p_values
from latentfp.checkpoints import autoencoders
from latentfp.choices import Coding
from latentfp.data.files import read_image
from latentfp.fingerprint.basis import Space, fit_channel_basis, split
from latentfp.fingerprint.pipeline import embed_many, read_many
from latentfp.generators.generator import Generator
from latentfp.generators.latent_diffusion import model
from latentfp.pixels import to_float
from latentfp.types import Params

CODING = Coding.ANTIPODAL


def collect(pipe: Any, prompts: Iterable[list[str]], **options: Any) -> np.ndarray:
    """The latents [n c h w] that the pipeline would decode, for batches of prompts."""
    made = [pipe(batch, output_type="latent", **options).images for batch in prompts]
    return np.concatenate([z.float().cpu().numpy() for z in made])


def fit(latents: np.ndarray, *, shift: int, bits: int) -> Space:
    """The space of a pipeline: principal axes of each channel of its latents, `bits` of them for the code."""
    flat = latents.reshape(len(latents), -1)  # channel, row, column
    return split(fit_channel_basis(flat, channels=latents.shape[1]), shift=shift, bits=bits)


def writer(space: Space, code: np.ndarray, *, sigma: float) -> Callable[..., dict[str, Any]]:
    """A callback that writes the code of a user into the latents just before they are decoded."""

    def write(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == pipe.num_timesteps - 1:
            z = tensors["latents"]
            marked = embed_many(space, z.float().cpu().numpy(), code, sigma=sigma, coding=CODING)
            tensors["latents"] = z.new_tensor(marked)
        return tensors

    return write


def encode(pipe: Any, files: Sequence[Path]) -> np.ndarray:
    """The latents [n c h w] of image files, by the pipeline's own encoder."""
    images = pipe.image_processor.preprocess([Image.open(file).convert("RGB") for file in files])
    vae = pipe.vae.requires_grad_(False)
    found = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mean * vae.config.scaling_factor
    return found.float().cpu().numpy()


def name(
    space: Space, codes: np.ndarray, latents: np.ndarray, *, sigma: float, alpha: float = ALPHA
) -> list[int | None]:
    """The row of `codes` that each latent bears, or None."""
    found = read_many(space, latents, sigma=sigma, coding=CODING) > 0
    signs, users = np.where(found, 1, -1).astype(np.int8), among(codes)  # all bits count the same
    ranked = users.rank(signs)
    chances = p_values(signs, ranked.scores[:, 0], users)
    return [int(user) if p <= alpha else None for user, p in zip(ranked.users[:, 0], chances, strict=True)]


def encoder(folder: Path) -> Callable[[Sequence[Path]], np.ndarray]:
    """What `encode` does, without PyTorch: files to latents [n d], by what `pipe.vae.save_pretrained(folder)`
    wrote."""
    generator, params = autoencoder(folder)
    assert generator.encode is not None
    read = jax.jit(generator.encode)

    def encode_files(files: Sequence[Path]) -> np.ndarray:
        images = to_float(np.stack([read_image(file, size=None) for file in files]))
        return np.asarray(read(params, jnp.asarray(images)))

    return encode_files


def autoencoder(folder: Path) -> tuple[Generator, Params]:
    """The autoencoder in Flax, and its weights."""
    found = autoencoders.from_folder(folder)
    return model.make_autoencoder(**found.fields), found.params


def save(path: Path, space: Space, codes: np.ndarray) -> None:
    """Write a space and codes into one .npz file."""
    parts: dict[str, Any] = {**space._asdict(), "codes": codes}
    np.savez(path, **parts)


def load(path: Path) -> tuple[Space, np.ndarray]:
    """The space and the codes that were saved."""
    with np.load(path) as stored:
        return Space(*(jnp.asarray(stored[field]) for field in Space._fields)), stored["codes"]
