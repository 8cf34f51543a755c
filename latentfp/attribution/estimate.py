"""What every way of attribution returns: the estimated code and content of an image, and how that went."""

import enum
from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int


class Status(enum.IntEnum):
    """How an estimate ended; a failure is a value, never an exception."""

    OK = 0
    NONFINITE = 1  # no start reached a finite loss at a finite point, as for an image that holds NaN


class Estimate(NamedTuple):
    """The code and content that explain each image of a batch best."""

    code: Bool[Array, "b k"]
    logits: Float[Array, "b k"]  # kappa: positive for a set bit
    content: Float[Array, "b r"]  # alpha, in the latent's units
    loss: Float[Array, " b"]  # the objective that was minimised
    status: Int[Array, " b"]  # a Status
