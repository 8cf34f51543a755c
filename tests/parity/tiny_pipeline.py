"""A Stable Diffusion pipeline of 32×32 pixels: random weights, a minute of training, no network and no files.

It draws smooth random colours. Its autoencoder and its denoiser are trained just enough that the denoiser
makes latents like those of the autoencoder, which encoding then finds again in the decoded images, with an
error: the situation of a real pipeline, in small. An autoencoder that is trained this briefly for
reconstruction alone leaves half of its latent unused, and a code there is lost; so its latent is also told
what to hold (see `wanted`).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE, LEVELS, LATENT = 32, (16, 32, 32), 4
WORDS = ("a", "b")  # the language of the prompts
TEXT = 32
STEPS = {"autoencoder": 300, "denoiser": 250}


def make(seed: int) -> StableDiffusionPipeline:
    """The trained pipeline of this seed."""
    torch.manual_seed(seed)
    text_encoder, tokenizer = text_model()
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    pipe = StableDiffusionPipeline(
        autoencoder(), text_encoder, tokenizer, denoiser(), scheduler, None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    train_autoencoder(pipe.vae)
    train_denoiser(pipe)
    return pipe


def autoencoder(levels: tuple[int, ...] = LEVELS, *, groups: int = 8, **others: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(levels),
        up_block_types=["UpDecoderBlock2D"] * len(levels),
        block_out_channels=levels,
        layers_per_block=1,
        latent_channels=LATENT,
        norm_num_groups=groups,
        sample_size=SIZE,
        **others,
    )


def denoiser(
    channels: tuple[int, ...] = (32, 64), *, groups: int = 8, head: int = 8, **others: Any
) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // 2 ** (len(LEVELS) - 1),
        in_channels=LATENT,
        out_channels=LATENT,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=groups,
        cross_attention_dim=TEXT,
        attention_head_dim=head,
        **others,
    )


def text_model() -> tuple[CLIPTextModel, CLIPTokenizer]:
    """Random weights."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = [*ends, *WORDS, *(f"{word}</w>" for word in WORDS)]
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(vocabulary)}, merges=[], model_max_length=8
    )
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=TEXT,
        intermediate_size=TEXT,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config).eval(), tokenizer


def pictures(n: int) -> Tensor:
    """Smooth random colours [n 3 h w] in -1 … 1, of three scales."""
    scales = {4: 0.7, 8: 0.5, 16: 0.5}
    parts = [
        weight * F.interpolate(torch.randn(n, 3, side, side), size=SIZE, mode="bicubic")
        for side, weight in scales.items()
    ]
    return torch.stack(parts).sum(0).tanh()


def wanted(images: Tensor) -> Tensor:
    """Of 4×4 pixels each [n 4 h/4 w/4]: the colour, and how the left half differs from the right."""
    halves = F.avg_pool2d(images.mean(1, keepdim=True), (4, 2))
    return torch.cat([2 * F.avg_pool2d(images, 4), 4 * (halves[..., ::2] - halves[..., 1::2])], 1)


def train_autoencoder(vae: AutoencoderKL) -> None:
    """Reconstruction and a weak divergence; then the factor that gives the latents unit variance."""

    def loss() -> Tensor:
        images = pictures(16)
        posterior = vae.encode(images).latent_dist
        seen = F.mse_loss(vae.decode(posterior.sample()).sample, images)
        return seen + F.mse_loss(posterior.mean, wanted(images)) + 4e-7 * posterior.kl().mean()

    descend(vae, loss, steps=STEPS["autoencoder"], rate=4e-3)
    with torch.no_grad():
        latents = vae.encode(pictures(512)).latent_dist.sample()
    vae.register_to_config(scaling_factor=float(1 / latents.std()))


def train_denoiser(pipe: StableDiffusionPipeline) -> None:
    """The noise in noisy latents, whatever the prompt."""
    with torch.no_grad():
        text = pipe.encode_prompt([*WORDS, ""], "cpu", 1, False)[0]
        clean = torch.cat([pipe.vae.encode(pictures(256)).latent_dist.sample() for _ in range(8)])
    clean *= pipe.vae.config.scaling_factor
    batch, times = 64, pipe.scheduler.config.num_train_timesteps

    def loss() -> Tensor:
        z = clean[torch.randint(len(clean), (batch,))]
        noise, t = torch.randn_like(z), torch.randint(times, (batch,))
        noisy = pipe.scheduler.add_noise(z, noise, t)
        return F.mse_loss(pipe.unet(noisy, t, text[torch.randint(len(text), (batch,))]).sample, noise)

    descend(pipe.unet, loss, steps=STEPS["denoiser"], rate=2e-3)


def descend(network: nn.Module, loss: Callable[[], Tensor], *, steps: int, rate: float) -> None:
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    network.eval()
