"""The layers of InceptionV3 up to its last average, as data.

A network is a chain of steps; a fork gives its input to several chains and joins their channels in order.
Names are those of the tensors in PyTorch checkpoints; channels that come in follow from the step before.
Source: Szegedy et al. 2016, *Rethinking the Inception Architecture for Computer Vision*; the names, and the
pools of the network that Fréchet distances use, as in github.com/mseitzer/pytorch-fid.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple


class Convolution(NamedTuple):
    """Without bias, then batch normalisation, then ReLU. `kernel`: height and width, both odd.

    `padding`: SAME keeps the sides at stride 1, VALID uses whole windows only.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class Pool(Enum):
    """Over 3×3 places. Places outside the image count in none of them."""

    AVERAGE = "mean, sides kept"
    LARGEST = "maximum, sides kept"
    HALVING = "maximum of whole windows at stride 2"


class Fork(NamedTuple):
    """Chains with one input; their outputs are joined along the channels."""

    branches: tuple[tuple["Step", ...], ...]


Step = Convolution | Pool | Fork


def width(steps: Sequence[Step], channels: int) -> int:
    """How many channels leave a chain that `channels` enter."""
    for step in steps:
        if isinstance(step, Convolution):
            channels = step.channels
        elif isinstance(step, Fork):
            channels = sum(width(branch, channels) for branch in step.branches)
    return channels


def convolutions(steps: Sequence[Step], channels: int) -> Iterator[tuple[Convolution, int]]:
    """Every convolution of a chain, with the number of channels that enter it."""
    for step in steps:
        if isinstance(step, Convolution):
            yield step, channels
        elif isinstance(step, Fork):
            for branch in step.branches:
                yield from convolutions(branch, channels)
        channels = width([step], channels)


def _halving(name: str, channels: int) -> Convolution:
    return Convolution(name, channels, (3, 3), stride=2, padding="VALID")


def _block_5(at: str, pooled: int) -> Fork:
    return Fork(
        (
            (Convolution(f"{at}.branch1x1", 64),),
            (Convolution(f"{at}.branch5x5_1", 48), Convolution(f"{at}.branch5x5_2", 64, (5, 5))),
            (
                Convolution(f"{at}.branch3x3dbl_1", 64),
                Convolution(f"{at}.branch3x3dbl_2", 96, (3, 3)),
                Convolution(f"{at}.branch3x3dbl_3", 96, (3, 3)),
            ),
            (Pool.AVERAGE, Convolution(f"{at}.branch_pool", pooled)),
        )
    )


def _block_6a(at: str) -> Fork:
    return Fork(
        (
            (_halving(f"{at}.branch3x3", 384),),
            (
                Convolution(f"{at}.branch3x3dbl_1", 64),
                Convolution(f"{at}.branch3x3dbl_2", 96, (3, 3)),
                _halving(f"{at}.branch3x3dbl_3", 96),
            ),
            (Pool.HALVING,),
        )
    )


def _block_6(at: str, inner: int) -> Fork:
    return Fork(
        (
            (Convolution(f"{at}.branch1x1", 192),),
            (
                Convolution(f"{at}.branch7x7_1", inner),
                Convolution(f"{at}.branch7x7_2", inner, (1, 7)),
                Convolution(f"{at}.branch7x7_3", 192, (7, 1)),
            ),
            (
                Convolution(f"{at}.branch7x7dbl_1", inner),
                Convolution(f"{at}.branch7x7dbl_2", inner, (7, 1)),
                Convolution(f"{at}.branch7x7dbl_3", inner, (1, 7)),
                Convolution(f"{at}.branch7x7dbl_4", inner, (7, 1)),
                Convolution(f"{at}.branch7x7dbl_5", 192, (1, 7)),
            ),
            (Pool.AVERAGE, Convolution(f"{at}.branch_pool", 192)),
        )
    )


def _block_7a(at: str) -> Fork:
    return Fork(
        (
            (Convolution(f"{at}.branch3x3_1", 192), _halving(f"{at}.branch3x3_2", 320)),
            (
                Convolution(f"{at}.branch7x7x3_1", 192),
                Convolution(f"{at}.branch7x7x3_2", 192, (1, 7)),
                Convolution(f"{at}.branch7x7x3_3", 192, (7, 1)),
                _halving(f"{at}.branch7x7x3_4", 192),
            ),
            (Pool.HALVING,),
        )
    )


def _block_7(at: str, pool: Pool) -> Fork:
    return Fork(
        (
            (Convolution(f"{at}.branch1x1", 320),),
            (Convolution(f"{at}.branch3x3_1", 384), _cross(f"{at}.branch3x3_2")),
            (
                Convolution(f"{at}.branch3x3dbl_1", 448),
                Convolution(f"{at}.branch3x3dbl_2", 384, (3, 3)),
                _cross(f"{at}.branch3x3dbl_3"),
            ),
            (pool, Convolution(f"{at}.branch_pool", 192)),
        )
    )


def _cross(name: str) -> Fork:
    """A row and a column of three places beside each other."""
    return Fork(((Convolution(f"{name}a", 384, (1, 3)),), (Convolution(f"{name}b", 384, (3, 1)),)))


# From 299×299×3: 147×147×64 and 71×71×192 before the two pools, 35×35 in blocks 5, 17×17 in 6, 8×8×2048 last.
NETWORK: tuple[Step, ...] = (
    _halving("Conv2d_1a_3x3", 32),
    Convolution("Conv2d_2a_3x3", 32, (3, 3), padding="VALID"),
    Convolution("Conv2d_2b_3x3", 64, (3, 3)),
    Pool.HALVING,
    Convolution("Conv2d_3b_1x1", 80),
    Convolution("Conv2d_4a_3x3", 192, (3, 3), padding="VALID"),
    Pool.HALVING,
    _block_5("Mixed_5b", 32),
    _block_5("Mixed_5c", 64),
    _block_5("Mixed_5d", 64),
    _block_6a("Mixed_6a"),
    _block_6("Mixed_6b", 128),
    _block_6("Mixed_6c", 160),
    _block_6("Mixed_6d", 160),
    _block_6("Mixed_6e", 192),
    _block_7a("Mixed_7a"),
    _block_7("Mixed_7b", Pool.AVERAGE),
    _block_7("Mixed_7c", Pool.LARGEST),
)
