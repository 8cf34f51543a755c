"""Pipelines of diffusers with random weights, 32×32 pixels and two steps; the text is random numbers."""

from typing import Any, NamedTuple

import torch
from diffusers import (  # type: ignore[attr-defined]
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

SIZE, LEVELS, TEXT, POOLED = 32, (8, 8, 16), 32, 24


class Made(NamedTuple):
    """A pipeline, and what it is called with in place of a prompt for `n` images."""

    pipe: Any
    text: Any

    def __call__(self, n: int, **options: Any) -> Any:
        random = torch.Generator().manual_seed(5)
        sizes = {"height": SIZE, "width": SIZE, "num_inference_steps": 2, "generator": random}
        return self.pipe(**self.text(n), **{**sizes, **options}).images


def autoencoder(channels: int, **others: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(LEVELS),
        up_block_types=("UpDecoderBlock2D",) * len(LEVELS),
        block_out_channels=LEVELS,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=SIZE,
        **others,
    ).eval()


def unet(**others: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=TEXT,
        attention_head_dim=4,
        **others,
    ).eval()


def words(n: int, *, pooled: bool, negative: bool) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    found = {"prompt_embeds": torch.randn(n, 6, TEXT, generator=random)}
    if pooled:
        found["pooled_prompt_embeds"] = torch.randn(n, POOLED, generator=random)
    return found | {f"negative_{name}": -it for name, it in found.items() if negative}


def stable_diffusion() -> Made:
    options = {"requires_safety_checker": False}
    pipe = StableDiffusionPipeline(
        autoencoder(4),
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
    vae = autoencoder(4, scaling_factor=0.13025)
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
        4, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
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
        4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
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
