"""Tensors of an InceptionV3 of full width that nobody trained, under the names of PyTorch checkpoints."""

import numpy as np

from latentfp.quality.inception import NETWORK, convolutions


def tensors(seed, steps=NETWORK, channels=3):
    """Of the convolutions of a chain: kernels that keep the power of their input through ReLU.

    Statistics and gains of the batch normalisations are near those of such a network.
    """
    draw = np.random.default_rng(seed)
    found = {}
    for layer, before in convolutions(steps, channels):
        h, w = layer.kernel
        size, std = layer.channels, np.float32(np.sqrt(2 / (h * w * before)))
        found |= {
            f"{layer.name}.conv.weight": std * draw.standard_normal((size, before, h, w), np.float32),
            f"{layer.name}.bn.weight": draw.uniform(0.7, 1.3, size).astype(np.float32),
            f"{layer.name}.bn.bias": draw.normal(0, 0.1, size).astype(np.float32),
            f"{layer.name}.bn.running_mean": draw.normal(0, 0.1, size).astype(np.float32),
            f"{layer.name}.bn.running_var": draw.uniform(0.7, 1.3, size).astype(np.float32),
        }
    return found
