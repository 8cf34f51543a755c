"""Linear image operations that act on rows and columns in turn: y = R x Cᵀ, channel by channel.

Written as two dense matrix products. Up to 256×256 on a CPU that is at least as fast as 25 shifted additions
or a convolution, and its gradient is 20 to 100 times faster than theirs. Full float32 precision is asked for:
with TensorFloat-32 or bfloat16 products the result would be wrong by up to a grey level.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def separable(
    image: Float[Array, "h w c"], *, rows: Float[Array, "i h"], columns: Float[Array, "j w"]
) -> Float[Array, "i j c"]:
    """Output row i is the combination `rows[i]` of the image's rows; column j likewise."""
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)
