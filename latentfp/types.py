"""The vocabulary of shapes: one word, one meaning, everywhere.

    b  batch     h w  image height and width     d  latent dimensions     k  code length (bits)
    r  content dimensions (d - k)     s  starts of a search     n  number of samples

Images are sRGB in [-1, 1], channels last, and never min-max normalised; uint8 exists only at files.
The paper's "key" is a *code* here: a *key* is a JAX random key.
"""

from typing import Any

import jax
import jaxtyping
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt8

Image = Float[Array, "h w 3"]
Images = Float[Array, "b h w 3"]
Pixels = UInt8[Any, "h w 3"]  # what a file holds; a NumPy array
Latent = Float[Array, " d"]
Latents = Float[Array, "b d"]
Content = Float[Array, " r"]  # alpha: coordinates along the content axes
Code = Bool[Array, " k"]  # one user's bits
Codes = Bool[Array, "n k"]
Logits = Float[Array, " k"]  # kappa: sigmoid(kappa) relaxes a code
Scalar = Float[Array, ""]
Count = Int[Array, ""]
Key = jaxtyping.Key[Array, ""]  # a typed JAX random key
Params = PyTree[Any]


def by_path(tree: Params, *, separator: str = "/") -> dict[str, Any]:
    """The leaves of a tree by their path, joined by the separator, in the order of `jax.tree.leaves`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=separator): leaf for path, leaf in leaves}
