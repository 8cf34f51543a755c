"""Random checkpoints of given sizes through the commands, at small sizes."""

import json

import jax
import numpy as np
import pytest
from latent_diffusion_sizes import FIELDS
from random_stylegan2 import FIELDS as STYLEGAN2

from latentfp.bench import published_sizes
from latentfp.checkpoints import formats
from latentfp.generators.latent_diffusion import model


@pytest.mark.slow
def test_every_command_is_measured(tmp_path):
    fit = ("--sigma", "1", "--shift", "4", "--bits", "8", "--samples", "1000")
    found = published_sizes.run(
        kind="stylegan2", fields=STYLEGAN2, steps=0, fit=fit, seed=0, workdir=tmp_path
    )
    assert json.loads((tmp_path / "published_sizes.json").read_text()) == json.loads(json.dumps(found))
    for name in ("import", "fit", "users add", "generate 1"):
        assert 0.1 < found[name]["seconds"] < 300
        assert 50 < found[name]["peak_mib"] < 8000
    assert found["bytes"] == (tmp_path / "model.pt").stat().st_size > 10_000
    assert len(list((tmp_path / "images").glob("*.png"))) == 1


@pytest.mark.slow
def test_a_written_pipeline_is_the_one_that_was_asked_for(tmp_path):
    path = published_sizes.write_latent_diffusion(tmp_path, FIELDS, 3)
    found, _ = formats.read(path, formats.recognise(path))
    assert found.fields["denoiser"] == {**FIELDS["denoiser"], "groups": 32}
    assert found.fields["first_stage"] == {**FIELDS["first_stage"], "groups": 32}
    expected = model.init(model.networks(**FIELDS), published_sizes.rng.root(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found.params, expected)


def test_a_command_that_fails_stops_the_study(tmp_path):
    with pytest.raises(RuntimeError, match="latentfp import failed"):
        published_sizes.command("import", tmp_path / "nothing", "--out", tmp_path / "out")
