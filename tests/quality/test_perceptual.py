"""LPIPS on a random trunk that follows from a seed, against a float64 restatement and the golden numbers."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from latentfp.quality.perceptual import LINEAR_FILE, from_torchvision, load, lpips, tap_distance, vgg_taps

NUMBERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
WIDTHS = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
LAST_OF_STAGE = {2, 7, 14, 21, 28}
TRUNK_HASH = "f67e63646c41f1554dddb04912da9b8a4fdb6a677c79eb024fb8c87cc609e208"


@pytest.fixture(scope="module")
def tensors():
    """The trunk rule of the golden README, under torchvision's names."""
    named = {}
    for layer, number in enumerate(NUMBERS):
        before, after = WIDTHS[layer : layer + 2]
        draw = np.random.default_rng([7, layer])
        weight = draw.standard_normal((after, before, 3, 3)) * np.sqrt(2.0 / (before * 9))
        named[f"features.{number}.weight"] = weight.astype(np.float32)
        named[f"features.{number}.bias"] = (0.1 * draw.standard_normal(after)).astype(np.float32)
    return named


@pytest.fixture(scope="module")
def params(tensors):
    return from_torchvision(tensors)


@pytest.fixture(scope="module")
def distance():
    return jax.jit(lpips)


def test_the_trunk_is_that_of_the_seed(tensors):
    assert hashlib.sha256(b"".join(tensor.tobytes() for tensor in tensors.values())).hexdigest() == TRUNK_HASH


def taps_float64(tensors, image):
    """Convolutions as sums over nine shifts, pooling as the largest of four slices."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = (image.astype(np.float64) - shift) / scale
    taps = []
    for number in NUMBERS:
        h, w, _ = x.shape
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        weight = tensors[f"features.{number}.weight"].astype(np.float64)
        shifts = [(i, j) for i in range(3) for j in range(3)]
        x = sum(padded[i : i + h, j : j + w] @ weight[:, :, i, j].T for i, j in shifts)
        x = np.maximum(x + tensors[f"features.{number}.bias"], 0)
        if number in LAST_OF_STAGE:
            taps.append(x)
            even = x[: h // 2 * 2, : w // 2 * 2]
            x = np.max([even[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    return taps


def lpips_float64(tensors, a, b):
    total = 0.0
    with np.load(LINEAR_FILE) as linear:
        for stage, (f, g) in enumerate(zip(taps_float64(tensors, a), taps_float64(tensors, b), strict=True)):
            unit_f, unit_g = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (f, g))
            total += np.mean((unit_f - unit_g) ** 2 @ linear[f"lin{stage}"].astype(np.float64))
    return total


@pytest.mark.parametrize("shape", [(16, 16), (19, 34)], ids=str)
def test_the_distance_is_its_restatement(params, tensors, distance, shape):
    a, b = np.random.default_rng(8).uniform(-1, 1, (2, *shape, 3)).astype(np.float32)
    # 13 layers of float32 sums, relative error 1e-5 at most, of a distance of 0.2.
    np.testing.assert_allclose(distance(params, a, b), lpips_float64(tensors, a, b), rtol=1e-5)


def test_taps(params, tensors):
    image = np.random.default_rng(9).uniform(-1, 1, (16, 16, 3)).astype(np.float32)
    taps = jax.jit(vgg_taps)(params, jnp.asarray(image))
    expected = taps_float64(tensors, image)
    assert [tap.shape for tap in taps] == [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512), (1, 1, 512)]
    for ours, theirs in zip(taps, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # sums of up to 4608 terms of order 1
    assert tap_distance(params, taps, taps) == 0


def test_a_batch_is_a_loop(params, distance):
    images = jax.random.uniform(jax.random.key(2), (3, 16, 16, 3), minval=-1.0, maxval=1.0)
    batch = jax.jit(jax.vmap(lpips, in_axes=(None, 0, None)))(params, images, images[0])
    alone = [distance(params, image, images[0]) for image in images]
    np.testing.assert_allclose(batch, alone, rtol=1e-5, atol=1e-9)
    assert batch[0] < 1e-10


def test_places_where_nothing_responds_have_a_finite_gradient(params):
    """The norm of the channels has none at zero."""
    silent = [jnp.zeros((1, 2, len(weights))) for weights in params["linear"]]
    responding = [jnp.ones_like(tap) for tap in silent]
    gradients = jax.grad(tap_distance, argnums=1)(params, silent, responding)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_images_below_16_pixels_are_refused(params):
    with pytest.raises(ValueError, match=r"15x40.*at least 16x16"):
        lpips(params, jnp.zeros((15, 40, 3)), jnp.zeros((15, 40, 3)))


def test_a_file_of_torchvision_is_read_without_its_classifier(tensors, params, tmp_path):
    save_file(
        {**tensors, "classifier.0.weight": np.zeros((4, 4), np.float32)}, tmp_path / "vgg16.safetensors"
    )
    loaded = load(tmp_path / "vgg16.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, loaded, params)))


def test_all_that_does_not_fit_is_named_at_once(tensors):
    changed = dict(tensors)
    del changed["features.0.bias"]
    changed["features.1.running_mean"] = np.zeros(64, np.float32)
    changed["features.28.bias"] = np.zeros(256, np.float32)
    with pytest.raises(ValueError, match="vgg16") as error:
        from_torchvision(changed)
    for name in ("features.0.bias", "features.1.running_mean", "features.28.bias"):
        assert name in str(error.value)


def test_the_linear_weights_are_the_published_ones():
    """By the SHA-256 of lin0 … lin4 of LPIPS v0.1 for VGG, float32, one after the other."""
    with np.load(LINEAR_FILE) as linear:
        raw = b"".join(linear[f"lin{stage}"].astype("<f4").tobytes() for stage in range(5))
    published = "9153a2043dccf3b525d4f13db916e93ef040548ea923b6f2100de5ebac141a78"
    assert hashlib.sha256(raw).hexdigest() == published


@pytest.mark.golden
class TestGolden:
    @pytest.fixture(scope="class")
    def shared(self):
        return {}

    @pytest.fixture
    def arrays(self, golden):
        with np.load(golden("lpips_vgg") / "io.npz", allow_pickle=False) as file:
            return {n: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for n, a in file.items()}

    @pytest.mark.slow
    def test_distances_and_their_terms(self, arrays, params, distance):
        taps = jax.jit(jax.vmap(vgg_taps, in_axes=(None, 0)))
        taps_a, taps_b = taps(params, arrays["a"]), taps(params, arrays["b"])
        for stage, tap in enumerate(taps_a):
            theirs = arrays[f"feat_a_{stage}_first8"]
            np.testing.assert_allclose(tap[:1, ..., :8], theirs, rtol=1e-4, atol=1e-4)
            means = arrays[f"feat_a_{stage}_meanabs"]
            np.testing.assert_allclose(np.abs(tap).mean((1, 2)), means, rtol=1e-4, atol=1e-4)
            one = {"linear": [weights * (i == stage) for i, weights in enumerate(params["linear"])]}
            terms = jax.jit(jax.vmap(tap_distance, in_axes=(None, 0, 0)))(one, taps_a, taps_b)
            np.testing.assert_allclose(terms, arrays["terms"][:, stage], rtol=0, atol=1e-6)
        ours = [distance(params, a, b) for a, b in zip(arrays["a"], arrays["b"], strict=True)]
        np.testing.assert_allclose(ours, arrays["dist"], rtol=0, atol=1e-6)
        assert ours[0] < 1e-10

    @pytest.mark.slow
    def test_gradient(self, arrays, params):
        ours = jax.jit(jax.grad(lpips, argnums=1))(params, arrays["a"][1], arrays["b"][1])
        theirs = arrays["grad_a_pair1"][0]
        assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs)
