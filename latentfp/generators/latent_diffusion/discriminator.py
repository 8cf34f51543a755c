"""The patch discriminator of the first stage: a logit for every patch of an image.

Source: Isola et al. 2017 (arXiv 1611.07004), section 3.2, as in Esser et al. 2021 (arXiv 2012.09841), with
normalisation by groups, which needs no running statistics.
"""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from latentfp.generators.latent_diffusion.layers import Norm
from latentfp.types import Images


class PatchDiscriminator(nn.Module):
    """Logits [b, i, j] of images [b, h, w, 3], positive for real ones; each of `channels` halves the size."""

    channels: Sequence[int]
    groups: int = 8

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "b i j"]:
        """Convolutions of 4×4 pixels at every second one, then one more and the logits."""
        x = images
        for i, width in enumerate(self.channels):
            x = nn.Conv(width, (4, 4), strides=2, name=f"conv{i}")(x)
            x = nn.leaky_relu(x if i == 0 else Norm(self.groups, 1e-5, name=f"norm{i}")(x), 0.2)
        x = nn.leaky_relu(nn.Conv(self.channels[-1], (3, 3), name="conv_last")(x), 0.2)
        return nn.Conv(1, (3, 3), name="logits")(x)[..., 0]
