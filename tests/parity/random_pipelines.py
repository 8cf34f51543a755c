"""Pipelines of diffusers with random weights, 32×32 pixels and two steps; the text is random numbers."""

from typing import Any, NamedTuple

import tiny_pipeline
import torch
from diffusers import (  # type: ignore[attr-defined]
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from tiny_pipeline import SIZE, TEXT

POOLED = 24


class Made(NamedTuple):
    """A pipeline, and what it is called with in place of a prompt for `n` images."""

    pipe: Any
    text: Any

    def __call__(self, n: int, **options: Any) -> Any:
        random = torch.Generator().manual_seed(5)
        sizes = {"height": SIZE, "width": SIZE, "num_inference_steps": 2, "generator": random}
        return self.pipe(**self.text(n), **{**sizes, **options}).images


def autoencoder(**units: Any) -> Any:
    return tiny_pipeline.autoencoder((8, 8, 16), groups=4, **units).eval()


def unet(**others: Any) -> Any:
    return tiny_pipeline.denoiser((8, 16), groups=4, head=4, **others).eval()


def words(n: int, *, pooled: bool, negative: bool) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    found = {"prompt_embeds": torch.randn(n, 6, TEXT, generator=random)}
    if pooled:
        found["pooled_prompt_embeds"] = torch.randn(n, POOLED, generator=random)
    return found | {f"negative_{name}": -it for name, it in found.items() if negative}


def stable_diffusion() -> Made:
    options = {"requires_safety_checker": False}
    pipe = StableDiffusionPipeline(
        autoencoder(),
        None,
        None,
        unet(),
        DDIMScheduler(steps_offset=1, clip_sample=False),
        None,
        None,
        **options,
    )  # type: ignore[arg-type]
    return Made(pipe, lambda n: words(n, pooled=False, negative=True))


def stable_diffusion_xl() -> Made:
    projected = POOLED + 6 * 8
    network = unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=projected,
    )
    vae = autoencoder(scaling_factor=0.13025)
    pipe = StableDiffusionXLPipeline(vae, None, None, None, None, network, EulerDiscreteScheduler())  # type: ignore[arg-type]
    return Made(pipe, lambda n: words(n, pooled=True, negative=True))


def stable_diffusion_3() -> Made:
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=TEXT,
        joint_attention_dim=TEXT,
        pooled_projection_dim=POOLED,
        out_channels=4,
    ).eval()
    vae = autoencoder(
        scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
    )
    nothing = [None] * 6
    pipe = StableDiffusion3Pipeline(transformer, FlowMatchEulerDiscreteScheduler(), vae, *nothing)  # type: ignore[arg-type]
    return Made(pipe, lambda n: words(n, pooled=True, negative=True))


def flux() -> Made:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        pooled_projection_dim=POOLED,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    vae = autoencoder(
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
    )
    pipe = FluxPipeline(FlowMatchEulerDiscreteScheduler(), vae, None, None, None, None, transformer)  # type: ignore[arg-type]
    return Made(pipe, lambda n: words(n, pooled=True, negative=False))


PIPELINES = {
    "Stable Diffusion": stable_diffusion,
    "Stable Diffusion XL": stable_diffusion_xl,
    "Stable Diffusion 3": stable_diffusion_3,
    "FLUX": flux,
}


def make(name: str) -> Made:
    """The same weights every time."""
    torch.manual_seed(1)
    made = PIPELINES[name]()
    made.pipe.set_progress_bar_config(disable=True)
    return made
