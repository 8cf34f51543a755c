"""The whole program on a small decoder: from a configuration to a folder, on any number of devices."""

import json
import sys
from functools import partial

import jax
import numpy as np
import optax
import pytest
from linear_space import write_deployment
from small_decoder import NETWORK
from tolerances import SAME_PROGRAM

from configs import decoder_stylegan2_avatars
from latentfp import build
from latentfp.deployment import constants, decoders
from latentfp.deployment.deployment import open_deployment
from latentfp.runtime import mesh
from latentfp.training import decoder as training

STEPS = 2


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return write_deployment(tmp_path_factory.mktemp("decoder_program"), size=16, sigma=2.0)


def tiny(deployment):
    config = decoder_stylegan2_avatars.get_config()
    config.update(
        {
            "objective": {"deployment": str(deployment), "network": NETWORK},
            "train": {
                "steps": STEPS,
                "batch": 8,
                "log_every": 1,
                "preview_every": 2,
                "checkpoint_every": 1,
                "keep": 1,
            },
        }
    )
    fields = config.to_dict()
    fields["objective"]["shares"]["ramp"] = 1
    fields["objective"]["learning"] |= {"iterations": 2, "warmup": 0, "rate": 0.02, "weight_decay": 0.0}
    return fields


def train(workdir, deployment, devices):
    """Plain gradient descent, for Adam makes steps of the sign of rounding errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "clu", None)  # numbers to plain files
        patch.setattr(training, "adam", lambda learning: optax.sgd(learning.rate))
        patch.setattr(constants, "PROBES", 64)
        patch.setattr(mesh, "data_mesh", partial(mesh.data_mesh, devices))
        return build.prepare(tiny(deployment), workdir=workdir)()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, deployment):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder, deployment, 1)


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


@pytest.mark.slow
def test_the_export_is_a_decoder_of_the_deployment(whole, deployment):
    """With averaged weights, in float16."""
    folder, state = whole
    opened = open_deployment(deployment)
    loaded = decoders.load(folder / "export", opened)
    assert loaded.iterations == 2
    assert (loaded.decoder.content, loaded.decoder.bits, loaded.decoder.width) == (16, 32, NETWORK["width"])
    pairs = zip(jax.tree.leaves(loaded.weights), jax.tree.leaves(state.average), strict=True)
    for found, average in pairs:
        np.testing.assert_allclose(found, average, rtol=2**-11, atol=2**-25)
    weights = zip(jax.tree.leaves(state.average), jax.tree.leaves(state.weights), strict=True)
    assert any((np.asarray(average) != np.asarray(last)).any() for average, last in weights)
    assert decoders.adopt(opened, folder / "export").sha256 == loaded.sha256


@pytest.mark.slow
def test_metrics_are_written(whole):
    rows = rows_of(whole[0])
    assert [row["step"] for row in rows] == [1, 2]
    names = {"cross_entropy", "content_error", "damage_error", "bits", "clean/bits", "clean/all_bits"}
    assert names <= rows[0].keys()
    assert all(0 <= row["bits"] <= 1 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
def test_the_number_of_devices_cannot_be_seen(whole, deployment, tmp_path, devices):
    assert len(jax.devices()) == 8
    found = train(tmp_path, deployment, devices)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(whole[1]), strict=True):
        # Images are rounded to 8 bits: one of a thousand numbers at a tie moves a mean by 1e-5 of itself.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=10 * SAME_PROGRAM["atol"])
    for one, other in zip(rows_of(tmp_path), rows_of(whole[0]), strict=True):
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("section", "field"), [("network", "depth"), ("shares", "damaged"), ("learning", "momentum")]
)
def test_fields_that_do_not_fit_are_refused(deployment, tmp_path, section, field):
    config = tiny(deployment)
    config["objective"][section][field] = 1
    with pytest.raises(
        ValueError, match=rf"config\.objective\.{section} does not fit: unknown fields \['{field}'\]"
    ):
        build.prepare(config, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_devices_cannot_share_is_refused(deployment, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "PROBES", 16)
    config = tiny(deployment)
    config["train"]["batch"] = 12
    with pytest.raises(ValueError, match="12 rows cannot be split over 8 devices"):
        build.prepare(config, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_deployment_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere holds no manifest"):
        build.prepare(tiny("nowhere"), workdir=tmp_path / "run")
