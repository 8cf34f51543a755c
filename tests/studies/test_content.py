"""Photographs as the content of an autoencoder's images, through a whole study."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_study

from latentfp import rng
from latentfp.data.files import write_image
from latentfp.deployment import fitting
from latentfp.generators import pretrained
from latentfp.generators.latent_diffusion import model
from latentfp.studies import capacity, false_accusations
from latentfp.studies.capacity import Settings
from latentfp.studies.content import CROPS, with_content
from latentfp.studies.context import open_context

NETWORK = {"latent": 4, "width": 8, "encoder_blocks": [1, 1, 1, 1], "decoder_blocks": [1, 1, 1, 1]}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(3):
        small = random.integers(256, size=(6, 8, 3), dtype=np.uint8)
        write_image(folder / f"{i}.png", small.repeat(12, axis=0).repeat(12, axis=1))
    return folder


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """Of an autoencoder of random weights, 16 pixels a side."""
    folder = tmp_path_factory.mktemp("autoencoder")
    fields = {"size": 16, "network": NETWORK, "scale": 1.0}
    stage = model.autoencoder(NETWORK)
    blank = jnp.zeros((1, 16, 16, 3))
    params = stage.init(rng.root(0), blank, method=lambda it, x: it.decode(it.moments(x)))["params"]
    pretrained.save(folder / "vae", kind="first_stage", fields=fields, params=params, noise_seed=None)
    options = {"generator": folder / "vae", "sigma": 0.5, "bits": 4, "min_distance": 1}
    random = np.random.default_rng(1)
    np.save(folder / "latents.npy", random.standard_normal((60, 4, 2, 2)).astype(np.float32))
    fitting.fit(folder / "deployment", **options, latents=[folder / "latents.npy"], shift=8)
    return folder / "deployment"


def test_samples_are_encoded_photographs(deployment, photographs):
    context = open_context(deployment, seed=1, content=str(photographs))
    generator, params = context.loaded.generator, context.loaded.params
    drawn = np.asarray(generator.sample(params, rng.root(5), 40))
    decoded = jax.jit(generator.synthesize)(params, drawn)
    assert decoded.shape == (40, 16, 16, 3)
    again = with_content(pretrained.load(context.loaded.folder or ""), photographs, seed=1)
    np.testing.assert_array_equal(again.generator.sample(params, rng.root(5), 40), drawn)
    assert 20 < len(np.unique(drawn, axis=0)) <= min(40, CROPS)
    plain = open_context(deployment, seed=1)
    assert len({it.loaded.identity for it in (context, plain)}) == 2
    assert again.identity == context.loaded.identity
    with pytest.raises(ValueError, match="draws no latents"):
        plain.loaded.generator.sample(params, rng.root(5), 1)


def test_studies_run_on_them(deployment, photographs, tmp_path):
    settings = Settings(
        str(deployment), ("nie2023/blur",), 6, (1, 1000), 1e-2, method="encoder", content=str(photographs)
    )
    found = small_study.run(capacity, settings, tmp_path / "capacity", seed=1)
    assert found is not None
    assert 0 < found["psnr"] < 60
    assert found["rows"][0]["images"] == 6
    asked = false_accusations.Settings(
        str(deployment),
        {"unmarked": 8, "folder": 8},
        (1,),
        (4,),
        (0.5,),
        "encoder",
        4,
        *[str(photographs)] * 2,
    )
    found = small_study.run(false_accusations, asked, tmp_path / "negatives", seed=1)
    assert found is not None
    assert {row["kind"] for row in found["rates"]} == {"unmarked", "folder", "all"}


def test_a_generator_without_an_encoder_needs_no_content(photographs):
    with pytest.raises(ValueError, match="has no encoder: it draws its own content"):
        with_content(pretrained.load("avatars"), photographs, seed=0)
