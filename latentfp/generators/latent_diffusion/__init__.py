"""Latent diffusion: a first stage between images and latents, and a diffusion model of the latents."""
