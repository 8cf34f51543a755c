"""Fits to latents that are given, as files or as images to encode."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import latentfp as lf
from latentfp.data.files import write_image
from latentfp.deployment import fitting, given_latents
from latentfp.fingerprint import latent_copy
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained

D = 12


def sample(_params, _key, _n):
    raise ValueError("draws no latents")


def synthesize(params, w):
    return (w @ params["matrix"].T).reshape(-1, 4, 4, 3)


def encode(params, images):
    return images.reshape(len(images), -1) @ params["matrix"]


@pytest.fixture
def autoencoder():
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(48, D)))[0].astype(np.float32)
    return Generator("mine", D, (4, 4, 3), sample, synthesize, encode), {"matrix": jnp.asarray(matrix)}


@pytest.fixture(scope="module")
def latents():
    random = np.random.default_rng(1)
    return (random.normal(size=(200, D)) * np.linspace(2, 0.5, D)).astype(np.float32)


def test_files_of_any_layout_are_the_same_latents(latents, tmp_path):
    np.save(tmp_path / "a.npy", latents[:50].reshape(50, 3, 2, 2))
    save_file({"x": latents[50:60], "y": latents[60].reshape(3, 2, 2)}, tmp_path / "b.safetensors")
    found = given_latents.from_files([tmp_path / "a.npy", tmp_path / "b.safetensors"], D)
    assert found.count == 61
    np.testing.assert_array_equal(np.concatenate(list(found.batches)), latents[:61])


def test_half_precision_is_read(latents, tmp_path):
    np.save(tmp_path / "a.npy", latents.astype(np.float16))
    (found,) = given_latents.from_files([tmp_path / "a.npy"], D).batches
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, latents, atol=5e-3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, D + 1), np.float32), r"has the shape \[5, 13\], expected one latent or several of 12"),
        (np.full((5, D), np.nan, np.float32), "not finite"),
        (np.array(["a"] * D), "is no|expected|could not|not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        list(given_latents.from_files([tmp_path / "a.npy"], D).batches)


def test_a_missing_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"b\.npy: no such file"):
        given_latents.from_files([tmp_path / "b.npy"], D)
    (tmp_path / "c.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"c\.npy: it is no \.npy file"):
        given_latents.from_files([tmp_path / "c.npy"], D)


def test_a_fit_to_latents_finds_their_axes(autoencoder, latents, tmp_path):
    np.save(tmp_path / "a.npy", latents)
    dep = fitting.fit(
        tmp_path / "dep", generator=autoencoder, latents=[tmp_path / "a.npy"], sigma=1.0, bits=4
    )
    assert (dep.manifest.shift, dep.basis.axes.shape) == (8, (D, D))
    np.testing.assert_allclose(dep.basis.stds, np.sort(latents.std(axis=0))[::-1], rtol=0.1)


def test_few_latents_give_leading_axes(autoencoder, latents, tmp_path):
    """A code behind a quarter as many axes as there are latents."""
    wide = np.concatenate([latents] * 3, axis=1)
    np.save(tmp_path / "a.npy", wide[:30])
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 36)))[0].astype(np.float32)
    generator = autoencoder[0]._replace(latent_dim=36)
    dep = fitting.fit(
        tmp_path / "dep",
        generator=(generator, {"matrix": jnp.asarray(matrix)}),
        latents=[tmp_path / "a.npy"],
        sigma=1.0,
        bits=4,
    )
    assert (dep.manifest.shift, dep.basis.axes.shape) == (7, (11, 36))


def test_images_are_encoded(autoencoder, latents, tmp_path):
    generator, params = autoencoder
    made = np.clip(np.asarray(synthesize(params, latents[:20] / 8)), -1, 1)
    (tmp_path / "images").mkdir()
    for i, image in enumerate(made):
        write_image(tmp_path / "images" / f"{i:02d}.png", np.round(image * 127.5 + 127.5).astype(np.uint8))
    write_image(tmp_path / "images" / "small.png", np.zeros((3, 3, 3), np.uint8))
    loaded = Pretrained(generator, params, "mine", "")
    found = given_latents.from_images(loaded, tmp_path / "images")
    assert found.count == 20
    np.testing.assert_allclose(np.concatenate(list(found.batches)), encode(params, made), atol=0.02)
    blind = loaded._replace(generator=generator._replace(encode=None))
    with pytest.raises(ValueError, match="has no encoder of square images: give latents"):
        given_latents.from_images(blind, tmp_path / "images")
    with pytest.raises(ValueError, match="no usable image below"):
        given_latents.from_images(loaded, tmp_path / "nothing")


def test_latents_are_given_or_drawn(autoencoder, latents, tmp_path):
    np.save(tmp_path / "a.npy", latents)
    given: dict[str, Any] = {
        "generator": autoencoder,
        "latents": [tmp_path / "a.npy"],
        "sigma": 1.0,
        "bits": 4,
    }
    others: list[dict[str, Any]] = [{"samples": 50}, {"seed": 3}, {"images": tmp_path}]
    for more in others:
        with pytest.raises(ValueError, match="choose one of them"):
            fitting.fit(tmp_path / "dep", **given, **more)
    with pytest.raises(ValueError, match="numbers the axes of the usual samples"):
        fitting.fit(
            tmp_path / "dep", **{**given, "sigma": None, "bits": None}, design=tmp_path / "design.json"
        )
    assert not (tmp_path / "dep").exists()


def test_marked_latents_of_a_pipeline_are_read_from_images(autoencoder, latents, tmp_path):
    """All of a provider's way: fit to latents, a user's copy as a file, images, a name."""
    params, tame = autoencoder[1], latents / 8
    np.save(tmp_path / "a.npy", tame)
    dep = lf.fit(tmp_path / "dep", generator=autoencoder, latents=[tmp_path / "a.npy"], sigma=0.2, bits=8)
    dep.users.add("alice", "bob")
    dep.export("alice", tmp_path / "alice.safetensors", format="latents")
    copy = latent_copy.load(tmp_path / "alice.safetensors")
    marked = latent_copy.apply(copy, tame[:3])
    pixels = np.round(np.clip(np.asarray(synthesize(params, marked)), -1, 1) * 127.5 + 127.5).astype(np.uint8)
    found = dep.attribute(list(pixels), alpha=0.05)
    assert [it.user for it in found] == ["alice"] * 3
