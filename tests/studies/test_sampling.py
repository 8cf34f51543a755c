"""Throughput of sampling on a linear generator."""

import json

import pytest
from linear_space import write_generator

from latentfp.studies import sampling

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_every_batch_is_timed_and_compiled_once(tmp_path):
    generator = write_generator(tmp_path / "generator", latent_dim=24, size=8)
    result = sampling.run(generator=generator, batches=(1, 3), seed=0, workdir=tmp_path / "out")
    assert json.loads((tmp_path / "out/sampling.json").read_text()) == result
    assert list(result["batches"]) == ["1", "3"]
    for row in result["batches"].values():
        assert row["programs"] == 1
        assert 0 < 1 / row["images_per_second"] < row["first_call_seconds"]
