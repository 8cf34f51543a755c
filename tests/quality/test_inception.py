"""The pieces of the Inception network in float64 NumPy, its sizes, and the files that hold its weights.

The whole network is compared with PyTorch in tests/parity.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_inception
from safetensors.numpy import save_file

from latentfp.checkpoints.torch_files import write_tensors
from latentfp.quality import inception
from latentfp.quality.inception import NETWORK, Pool, convolutions, width

BLOCKS = dict(
    zip(("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"), NETWORK[7:], strict=True)
)
ENTERING = {"5b": 192, "6a": 288, "6b": 768, "7a": 768, "7b": 1280, "7c": 2048}  # channels


@pytest.fixture(scope="module")
def tensors():
    return random_inception.tensors(0)


def resized_float64(image, side):
    """Rows, then columns: the mean of two neighbours, weighted by their distance."""

    def weights(before):
        matrix = np.zeros((side, before))
        for i in range(side):
            place = min(max((i + 0.5) * before / side - 0.5, 0), before - 1)
            low = int(place)
            matrix[i, low] += 1 - (place - low)
            matrix[i, min(low + 1, before - 1)] += place - low
        return matrix

    h, w, _ = image.shape
    rows = np.tensordot(weights(h), image.astype(np.float64), 1)
    return np.einsum("jw,iwc->ijc", weights(w), rows, optimize=True)


@pytest.mark.parametrize("shape", [(32, 32), (7, 12), (299, 299), (640, 401), (1, 1)], ids=str)
def test_preprocessing_is_that_of_the_formula(shape):
    """[0, 1], resize, 2 x - 1; also where many pixels become one and are skipped."""
    pixels = np.random.default_rng(1).uniform(0, 1, (*shape, 3)).astype(np.float32)
    ours = inception.resized(jnp.asarray(2 * pixels - 1))
    # A place in float32 is off by eps times the side, and neighbours differ by 2 at most.
    np.testing.assert_allclose(ours, 2 * resized_float64(pixels, 299) - 1, rtol=0, atol=2.4e-7 * max(shape))


def windows(x, empty):
    """The 3×3 places around each one [h w 9 c]; those outside are `empty`."""
    h, w, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=empty)
    return np.stack([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=2)


def mean_float64(x):
    return np.nanmean(windows(x, np.nan), axis=2)


def largest_float64(x):
    return windows(x, -np.inf).max(2)


def halved_float64(x):
    return windows(x, -np.inf).max(2)[1:-1:2, 1:-1:2]


@pytest.mark.parametrize("shape", [(5, 6), (3, 3), (8, 4)], ids=str)
def test_pools_leave_out_what_lies_outside(shape):
    x = np.random.default_rng(2).normal(-3, 1, (*shape, 4)).astype(np.float32)
    wide = x.astype(np.float64)
    average = inception.forward([Pool.AVERAGE], {}, jnp.asarray(x))
    np.testing.assert_allclose(average, mean_float64(wide), rtol=1e-6)  # of nine numbers of one sign
    np.testing.assert_array_equal(
        inception.forward([Pool.LARGEST], {}, jnp.asarray(x)), largest_float64(wide)
    )
    np.testing.assert_array_equal(inception.forward([Pool.HALVING], {}, jnp.asarray(x)), halved_float64(wide))


class Restated:
    """Convolutions of a block in float64, as sums over shifts, with the batch normalisation after them."""

    def __init__(self, tensors, block):
        self.tensors, self.at = tensors, f"Mixed_{block}."

    def __call__(self, x, *names, stride=1, valid=False):
        for name in names:
            x = self.layer(x, name, valid and name is names[-1], stride if name is names[-1] else 1)
        return x

    def layer(self, x, name, valid, stride):
        def read(tensor):
            return self.tensors[f"{self.at}{name}.{tensor}"].astype(np.float64)

        kernel = read("conv.weight")
        _, _, rows, columns = kernel.shape
        if not valid:
            x = np.pad(x, ((rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
        h, w = x.shape[0] - rows + 1, x.shape[1] - columns + 1
        shifts = [(i, j) for i in range(rows) for j in range(columns)]
        y = np.sum([x[i : i + h, j : j + w] @ kernel[:, :, i, j].T for i, j in shifts], axis=0)
        normal = (y[::stride, ::stride] - read("bn.running_mean")) / np.sqrt(read("bn.running_var") + 0.001)
        return np.maximum(normal * read("bn.weight") + read("bn.bias"), 0)


def block_5b(conv, x):
    return [
        conv(x, "branch1x1"),
        conv(x, "branch5x5_1", "branch5x5_2"),
        conv(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        conv(mean_float64(x), "branch_pool"),
    ]


def block_6a(conv, x):
    return [
        conv(x, "branch3x3", stride=2, valid=True),
        conv(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", stride=2, valid=True),
        halved_float64(x),
    ]


def block_6b(conv, x):
    return [
        conv(x, "branch1x1"),
        conv(x, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
        conv(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))),
        conv(mean_float64(x), "branch_pool"),
    ]


def block_7a(conv, x):
    return [
        conv(x, "branch3x3_1", "branch3x3_2", stride=2, valid=True),
        conv(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4)), stride=2, valid=True),
        halved_float64(x),
    ]


def block_7(pool):
    def block(conv, x):
        once, twice = conv(x, "branch3x3_1"), conv(x, "branch3x3dbl_1", "branch3x3dbl_2")
        return [
            conv(x, "branch1x1"),
            *(conv(once, f"branch3x3_2{side}") for side in "ab"),
            *(conv(twice, f"branch3x3dbl_3{side}") for side in "ab"),
            conv(pool(x), "branch_pool"),
        ]

    return block


RESTATED = {
    "5b": block_5b,
    "6a": block_6a,
    "6b": block_6b,
    "7a": block_7a,
    "7b": block_7(mean_float64),
    "7c": block_7(largest_float64),
}


@pytest.mark.parametrize("name", RESTATED)
def test_blocks_are_those_of_the_definition(name):
    x = np.maximum(np.random.default_rng(3).standard_normal((5, 6, ENTERING[name])), 0).astype(np.float32)
    block = BLOCKS[name]
    made = random_inception.tensors(4, [block], x.shape[-1])
    params = inception.from_torch(made, [block], x.shape[-1])
    ours = jax.jit(lambda params, x: inception.forward([block], params, x))(params, jnp.asarray(x))
    expected = np.concatenate(RESTATED[name](Restated(made, name), x.astype(np.float64)), axis=-1)
    # At most five sums of at most 3456 products with a total near 1: 5 · √3456 · eps.
    np.testing.assert_allclose(ours, expected, rtol=4e-5, atol=4e-5)


def test_the_sizes_are_those_of_the_published_network():
    """Keras states 21 802 784 numbers without the classifier: kernels, and three of a normalisation."""
    layers = list(convolutions(NETWORK, 3))
    assert len(layers) == 94
    kernels = sum(math.prod(layer.kernel) * before * layer.channels for layer, before in layers)
    assert kernels + 3 * sum(layer.channels for layer, _ in layers) == 21_802_784
    assert width(NETWORK, 3) == 2048


def test_sides_and_channels(tensors):
    params = inception.from_torch(tensors)
    ends = {3: (147, 147, 64), 6: (71, 71, 192), 8: (35, 35, 256), 11: (17, 17, 768), 15: (17, 17, 768)}
    ends |= {16: (8, 8, 1280), 18: (8, 8, 2048)}
    for end, shape in ends.items():
        out = jax.eval_shape(partial(inception.forward, NETWORK[:end]), params, jnp.zeros((299, 299, 3)))
        assert out.shape == shape
    features = jax.eval_shape(inception.inception_features, params, jnp.zeros((32, 20, 3)))
    assert (features.shape, features.dtype) == ((2048,), jnp.float32)


def test_files_are_read_without_what_lies_behind_the_features(tensors, tmp_path):
    extra = {
        "fc.weight": np.zeros((1008, 2048), np.float32),
        "AuxLogits.conv0.conv.weight": np.zeros((128, 768, 1, 1), np.float32),
    }
    write_tensors(tmp_path / "inception.pth", tensors | extra)
    save_file(
        {**tensors, "Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)}, tmp_path / "inception.safetensors"
    )
    expected = inception.from_torch(tensors)
    for name in ("inception.pth", "inception.safetensors"):
        loaded = inception.load(tmp_path / name)
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, loaded, expected)))


def test_all_that_does_not_fit_is_named_at_once(tensors):
    changed = dict(tensors)
    del changed["Mixed_5b.branch1x1.conv.weight"]
    changed["Mixed_5b.branch1x1.conv.bias"] = np.zeros(64, np.float32)
    changed["Mixed_7c.branch_pool.bn.running_var"] = np.zeros(64, np.float32)
    changed["Conv2d_2a_3x3.bn.weight"] = np.full(32, np.nan, np.float32)
    with pytest.raises(ValueError, match="InceptionV3") as error:
        inception.from_torch(changed)
    for name in changed.keys() ^ tensors.keys() | {
        "Mixed_7c.branch_pool.bn.running_var",
        "Conv2d_2a_3x3.bn.weight",
    }:
        assert name in str(error.value)


def test_a_variance_below_zero_is_refused(tensors):
    changed = {**tensors, "Conv2d_1a_3x3.bn.running_var": np.full(32, -0.5, np.float32)}
    with pytest.raises(ValueError, match=r"Conv2d_1a_3x3\.bn\.running_var is negative"):
        inception.from_torch(changed)


def test_torchvisions_weights_are_refused(tensors, tmp_path):
    save_file({**tensors, "fc.weight": np.zeros((1000, 2048), np.float32)}, tmp_path / "google.safetensors")
    with pytest.raises(ValueError, match=r"holds torchvision.s own weights"):
        inception.load(tmp_path / "google.safetensors")


def test_another_checkpoint_is_refused(tmp_path):
    write_tensors(tmp_path / "vgg.pth", {"state_dict": {"features.0.weight": np.zeros((2, 2), np.float32)}})
    with pytest.raises(ValueError, match=r"470 missing.*1 unused: state_dict\.features\.0\.weight"):
        inception.load(tmp_path / "vgg.pth")
