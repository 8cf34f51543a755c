"""Marks in the latents of pipelines, on one that is made of NumPy; the real ones: tests/parity."""

import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import latentfp as lf
from latentfp.fingerprint.latent_copy import Copy, LatentFormat, apply, load, save
from latentfp.integrations.diffusers import Mark, collect

SHAPE, SCALE, SHIFT = (4, 6, 8), 0.4, 0.1
D = int(np.prod(SHAPE))
RANDOM = np.random.default_rng(0)
MAPS = RANDOM.standard_normal((4, *SHAPE)).astype(np.float32)


def a_copy(seed):
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.standard_normal((D, 5)))[0].T
    return Copy(axes, random.standard_normal(5) @ axes, LatentFormat(SHAPE, SCALE, SHIFT))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{seed}.safetensors" for seed in range(2)]
    for seed, path in enumerate(paths):
        save(path, a_copy(seed))
    return paths


class Pipeline:
    """Three steps that end at MAPS, packed if so asked, and an autoencoder that remembers what it decodes."""

    num_timesteps = 3

    def __init__(self, *, packed=False, **config):
        self.decoded = []
        self.packed = packed
        config = {"scaling_factor": SCALE, "shift_factor": SHIFT, **config}
        self.vae = SimpleNamespace(decode=self._decode, config=config)

    def _decode(self, z, *, return_dict=True):
        self.decoded.append(z)
        return SimpleNamespace(sample=z) if return_dict else (z,)

    def __call__(self, prompt, callback_on_step_end=None, callback_on_step_end_tensor_inputs=()):
        latents = pack(MAPS[: len(prompt)]) if self.packed else MAPS[: len(prompt)]
        for step in range(self.num_timesteps):
            if callback_on_step_end:
                assert callback_on_step_end_tensor_inputs == ["latents"]
                latents = callback_on_step_end(self, step, None, {"latents": latents})["latents"]
        if self.packed:
            latents = unpack(latents)
        return self.vae.decode(latents / np.float32(SCALE) + np.float32(SHIFT), return_dict=False)[0]


def pack(maps):
    """By loops, as FLUX lays out patches of 2×2."""
    n, c, h, w = maps.shape
    rows = [
        maps[:, :, i : i + 2, j : j + 2].reshape(n, 4 * c) for i in range(0, h, 2) for j in range(0, w, 2)
    ]
    return np.stack(rows, axis=1)


def unpack(latents):
    n, (c, h, w) = len(latents), SHAPE
    maps = np.empty((n, *SHAPE), np.float32)
    places = ((i, j) for i in range(0, h, 2) for j in range(0, w, 2))
    for number, (i, j) in enumerate(places):
        maps[:, :, i : i + 2, j : j + 2] = latents[:, number].reshape(n, c, 2, 2)
    return maps


def test_the_last_step_is_marked_and_no_other(files):
    mark = Mark(files[0])
    callback = mark.kwargs["callback_on_step_end"]
    pipe = Pipeline()
    given = {"latents": MAPS}
    assert callback(pipe, 1, None, dict(given))["latents"] is MAPS
    marked = callback(pipe, 2, None, dict(given))["latents"]
    np.testing.assert_array_equal(marked, apply(load(files[0]), MAPS))
    assert np.abs(marked - MAPS).max() > 0.1


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_decoded_bears_the_code(files, packed):
    plain = Pipeline(packed=packed)(["a"] * 2)
    by_callback = Pipeline(packed=packed)(["a"] * 2, **Mark(files[0]).kwargs)
    pipe = Pipeline(packed=packed)
    decode = pipe.vae.decode
    with lf.integrations.diffusers.Mark(files[0]).decoding(pipe):
        by_wrapper = pipe(["a"] * 2)
    assert pipe.vae.decode is decode
    expected = apply(load(files[0]), MAPS[:2]) / SCALE + SHIFT
    np.testing.assert_allclose(by_callback, expected, atol=1e-5)
    np.testing.assert_allclose(by_wrapper, expected, atol=1e-5)
    assert np.abs(by_callback - plain).max() > 0.1


def test_the_wrapper_ends_with_an_error_too(files):
    pipe = Pipeline()
    decode = pipe.vae.decode
    with pytest.raises(ZeroDivisionError), Mark(files[0]).decoding(pipe):
        raise ZeroDivisionError
    assert pipe.vae.decode is decode


def test_a_method_of_the_class_is_there_again_after_the_wrapper(files):
    class Autoencoder:
        def decode(self, z):
            return z

    pipe = SimpleNamespace(vae=Autoencoder())
    with Mark(files[0]).decoding(pipe):
        assert np.abs(pipe.vae.decode(MAPS) - MAPS).max() > 0.1
    assert vars(pipe.vae) == {}
    assert pipe.vae.decode(MAPS) is MAPS


def test_a_batch_bears_another_code_a_row(files):
    found = Mark(files).latents(MAPS)
    expected = [apply(load(file), MAPS[2 * i : 2 * i + 2]) for i, file in enumerate(files)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    with pytest.raises(ValueError, match="2 copies cannot share a batch of 3 latents evenly"):
        Mark(files).latents(MAPS[:3])


def test_every_kind_of_array_is_marked_alike(files):
    mark = Mark(files[0])
    expected = mark.latents(MAPS)
    in_jax = mark.latents(jnp.asarray(MAPS))
    np.testing.assert_array_equal(in_jax, expected)
    half = mark.latents(jnp.asarray(MAPS, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), expected, atol=0.05)
    single = mark.latents(MAPS.astype(np.float16))
    assert single.dtype == np.float16


def test_what_does_not_fit_is_refused(files, tmp_path):
    mark = Mark(files[0])
    with pytest.raises(ValueError, match=r"shape \[4, 4, 6, 6\]: expected \[n, 4, 6, 8\]"):
        mark.latents(MAPS[..., :6])
    save(tmp_path / "other", a_copy(3)._replace(latent=LatentFormat(SHAPE)))
    with pytest.raises(ValueError, match="2 copies of different latents"):
        Mark([files[0], tmp_path / "other"])
    with pytest.raises(ValueError, match="0 copies"):
        Mark([])
    for mean, bn in (([0.0], None), (None, "batch normalisation")):
        pipe = Pipeline(latents_mean=mean)
        pipe.vae.bn = bn
        with pytest.raises(ValueError, match=r"use `with mark\.decoding\(pipe\)"):
            pipe(["a"], **mark.kwargs)
    blind = SimpleNamespace()
    with pytest.raises(ValueError, match="a SimpleNamespace has no autoencoder"), mark.decoding(blind):
        pass


@pytest.mark.parametrize("packed", [False, True])
def test_latents_are_collected_as_pipelines_count_them(packed):
    found = collect(Pipeline(packed=packed), [["a"] * 2, ["b"]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, MAPS[[0, 1, 0]], atol=1e-6)


def test_it_imports_neither_pytorch_nor_diffusers():
    program = (
        "import sys; import latentfp.integrations.diffusers; "
        "sys.exit(bool({'torch', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
