"""The fields of a small latent diffusion with a code book and attention on one level."""

FIELDS = {
    "size": 32,
    "first_stage": {"channels": [32, 64], "blocks": 1, "latent": 3, "codes": 16},
    "denoiser": {"channels": [32, 64], "blocks": 1, "attention": [1], "head": 32},
}
