"""The whole program on small networks: a first stage, the denoiser in its latents, a generator."""

import json
import shutil
import sys
from functools import partial

import jax
import numpy as np
import optax
import pytest
from PIL import Image
from tolerances import SAME_PROGRAM

from configs import first_stage_avatars, ldm_avatars
from latentfp import build
from latentfp.data import pipeline
from latentfp.generators import pretrained
from latentfp.runtime import fields, mesh
from latentfp.training import first_stage as training

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
STAGE = {"channels": (4,), "blocks": 1, "latent": 2, "codes": 0, "groups": 2}
DENOISER = {"channels": (4,), "blocks": 1, "attention": (), "head": 4, "groups": 2}
TRAIN = {"steps": 2, "batch": 8, "log_every": 1, "preview_every": 2, "checkpoint_every": 1, "keep": 3}

pytestmark = pytest.mark.slow


def open_source(dataset, *, split, size, data_dir):
    assert (dataset, split, data_dir) == ("avatars", "train", "nowhere")
    return pipeline.Source(len(PIXELS), PIXELS.__getitem__, size=size)


def first_stage():
    config = first_stage_avatars.get_config()
    config.update({"data": {"size": 8, "data_dir": "nowhere"}, "train": TRAIN})
    chosen = config.to_dict()
    chosen["objective"] |= {"size": 8, "network": STAGE, "critic": (8,)}
    chosen["objective"]["learning"] |= {"warmup": 1, "adversary_from": 1}
    return chosen


def diffusion(folder):
    config = ldm_avatars.get_config()
    config.update({"data": {"size": 8, "data_dir": "nowhere"}, "train": TRAIN})
    chosen = config.to_dict()
    chosen["objective"] |= {"first_stage": str(folder), "denoiser": DENOISER, "steps": 2}
    chosen["objective"]["learning"] |= {"warmup": 1}
    return chosen


def train(config, workdir, devices):
    """Plain gradient descent, for Adam makes steps of the sign of rounding errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "clu", None)  # numbers to plain files
        patch.setattr(pipeline, "open_source", open_source)
        patch.setattr(optax, "adam", lambda rate, **_: optax.sgd(rate))
        patch.setattr(mesh, "data_mesh", partial(mesh.data_mesh, devices))
        return build.prepare(config, workdir=workdir)()


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    return folder, train(first_stage(), folder, 2)


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory, stage):
    folder = tmp_path_factory.mktemp("denoiser")
    return folder, train(diffusion(stage[0] / "export"), folder, 2)


def assert_stored(params, average):
    half = jax.tree.map(lambda leaf: np.float32(np.float16(leaf)), average)
    jax.tree.map(np.testing.assert_array_equal, params, half)


def test_the_first_stage_is_written(stage):
    folder, state = stage
    names = {"distance", "latent", "hinge", "inverse", "psnr", "variance"}
    assert [row.keys() - {"step"} for row in rows_of(folder)] == [names, names]
    stored = pretrained.read(folder / "export")
    assert stored.kind == "first_stage"
    assert stored.fields["network"] == {**STAGE, "channels": [4]}
    assert stored.fields["scale"] == float(state.variance) ** -0.5
    assert_stored(stored.params, state.average)


def test_the_generator_is_written(stage, denoiser):
    folder, state = denoiser
    names = {"loss", "loss/early", "variance"}
    assert [row.keys() - {"step"} for row in rows_of(folder)] == [names, names]
    loaded, built_on = pretrained.load(str(folder / "export")), pretrained.read(stage[0] / "export")
    jax.tree.map(np.testing.assert_array_equal, loaded.params["first_stage"], built_on.params)
    assert_stored(loaded.params["denoiser"], state.average)
    assert pretrained.read(folder / "export").fields["scale"] == built_on.fields["scale"]
    assert (loaded.generator.image_shape, loaded.generator.latent_dim) == ((8, 8, 3), 128)
    assert Image.open(folder / "previews/00000002.png").size == (8 * 8, 8 * 8)


def assert_resumed(config, whole, folder):
    """From the checkpoint of two devices after a step, on one device."""
    shutil.copytree(whole[0] / "checkpoints/1", folder / "checkpoints/1")
    state = train(config, folder, 1)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(one, other, **SAME_PROGRAM)
    (row,), (_, expected) = rows_of(folder), rows_of(whole[0])
    assert row.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(row[name], value, rtol=1e-4, err_msg=name)


def test_a_first_stage_is_resumed(stage, tmp_path):
    assert_resumed(first_stage(), stage, tmp_path)


def test_a_denoiser_is_resumed(stage, denoiser, tmp_path):
    assert_resumed(diffusion(stage[0] / "export"), denoiser, tmp_path)


def test_a_denoiser_needs_its_first_stage(denoiser, tmp_path):
    with pytest.raises(ValueError, match="holds a latent_diffusion, expected a first_stage"):
        build.prepare(diffusion(denoiser[0] / "export"), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("configuration", "changes", "message"),
    [
        (first_stage_avatars, {"network": {"blocks": 1, "width": 3}}, "objective.network does not fit"),
        (
            first_stage_avatars,
            {"learning": {"make": training.Learning, "rate": 1.0}},
            "objective.learning does not fit: .*'warmup'",
        ),
        (first_stage_avatars, {"size": 10}, "size 10 is not a multiple of"),
        (ldm_avatars, {"denoiser": {"channels": (4,), "chanels": 3}}, "objective.denoiser does not"),
    ],
)
def test_fields_that_do_not_fit_are_named(configuration, changes, message):
    objective = {**configuration.get_config().to_dict()["objective"], **changes}
    with pytest.raises(ValueError, match=message):
        fields.made(objective, section="config.objective")
