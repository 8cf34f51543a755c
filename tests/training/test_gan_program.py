"""The whole program on a small GAN: from a configuration to a generator, on any number of devices."""

import json
import shutil
import sys
from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image
from tolerances import SAME_PROGRAM

from configs import stylegan2_avatars
from latentfp import build
from latentfp.data import pipeline
from latentfp.generators import pretrained
from latentfp.runtime import mesh

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)


def open_source(dataset, *, split, size, data_dir):
    assert (dataset, split, data_dir) == ("avatars", "train", "nowhere")
    return pipeline.Source(len(PIXELS), PIXELS.__getitem__, size=size)


def train(workdir, devices):
    """Three steps, the first and the last of them with all regularisation."""
    config = stylegan2_avatars.get_config("32")
    config.update(
        {
            "data": {"size": 16, "data_dir": "nowhere"},
            "objective": {
                "size": 16,
                "channels": (4, 3, 2),
                "latent_dim": 5,
                "mapping_layers": 2,
                "learning_rate": 1e-3,
                "r1_every": 2,
                "path_every": 2,
            },
            "train": {
                "steps": 3,
                "batch": 16,
                "log_every": 1,
                "preview_every": 3,
                "checkpoint_every": 1,
                "keep": 3,
            },
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "clu", None)  # numbers to plain files
        patch.setattr(pipeline, "open_source", open_source)
        patch.setattr(mesh, "data_mesh", partial(mesh.data_mesh, devices))
        return build.prepare(config.to_dict(), workdir=workdir)()


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    return folder, train(folder, 8)


@pytest.mark.slow
def test_the_program_writes_numbers_pictures_and_the_generator(whole):
    folder, state = whole
    main = {"loss/discriminator", "loss/generator", "sign/real", "sign/fake"}
    lazy = {"r1", "path/penalty", "path/length"}
    assert [row.keys() - {"step"} for row in rows_of(folder)] == [main | lazy, main, main | lazy]
    assert Image.open(folder / "previews/00000003.png").size == (8 * 16, 8 * 16)
    made = pretrained.load(str(folder / "export"))
    assert made.generator.image_shape == (16, 16, 3)
    for name in ("mapping", "synthesis"):
        half = jax.tree.map(lambda leaf: np.float32(np.float16(leaf)), state.average[name])
        jax.tree.map(np.testing.assert_array_equal, made.params[name], half)
    w = made.generator.sample(made.params, jax.random.key(0), 4000)
    # the mean of 4000 w, against that of 10 000 others: errs by √(1/4000 + 1/10 000) = 0.019 deviations; five
    error = np.abs(np.mean(w, axis=0) - made.params["w_average"])
    assert (error < 5 * 0.019 * np.std(w, axis=0)).all()


@pytest.mark.slow
def test_eight_devices_are_one(whole, tmp_path):
    assert len(jax.devices()) == 8
    folder, many = whole
    shutil.copytree(folder / "checkpoints/1", tmp_path / "checkpoints/1")
    alone = train(tmp_path, 1)
    assert len(many.path_mean.addressable_shards) == 8
    for one, other in zip(rows_of(tmp_path), rows_of(folder)[1:], strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), list(other.values()), **SAME_PROGRAM)
    leaves = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)]) for state in (alone, many)]
    one, other = leaves
    np.testing.assert_allclose(one, other, **SAME_PROGRAM)
