"""Tracing through files and the command: two colluders, and a linear generator that shows their mean code."""

import json

import numpy as np
import pytest
from linear_space import add_drawn, write_deployment
from typer.testing import CliRunner

from latentfp import cli
from latentfp.choices import Method
from latentfp.data.files import read_image, write_image
from latentfp.deployment.attribute import Request, attribute
from latentfp.deployment.copies import generate_files
from latentfp.deployment.deployment import open_deployment
from latentfp.deployment.origin import trace


@pytest.fixture(scope="module")
def leaked(tmp_path_factory):
    """A deployment of six users of 32 bits, and four files that alice and bob averaged."""
    folder = tmp_path_factory.mktemp("trace")
    deployment = write_deployment(folder, sigma=0.5)
    add_drawn(open_deployment(deployment).registry, ["carol", "dave", "erin", "frank"], seed=2)
    for user in ("alice", "bob"):
        generate_files(deployment, user=user, count=4, out=folder / user, seed=7, suffix="png")
    (folder / "leaked").mkdir()
    for i, (one, other) in enumerate(
        zip(*(sorted((folder / u).iterdir()) for u in ("alice", "bob")), strict=True)
    ):
        pixels = (read_image(one, size=(8, 8)).astype(int) + read_image(other, size=(8, 8))) // 2
        write_image(folder / "leaked" / f"{i}.png", pixels.astype(np.uint8))
    return deployment, folder


def test_both_are_accused_and_nobody_else(leaked):
    deployment, folder = leaked
    found = trace(deployment, [folder / "leaked"], alpha=1e-2, seed=0)
    assert {one.user for one in found.accused} == {"alice", "bob"}
    assert (found.files, found.read, found.users) == (4, 4, 6)
    assert found.smallest == min(one.p_value for one in found.accused)
    entry = list(open_deployment(deployment).registry.audit())[-1]
    assert entry.action == "trace"


def test_the_command(leaked, tmp_path):
    deployment, folder = leaked
    command = ["trace", "--deployment", str(deployment), "--alpha", "1e-2"]
    (tmp_path / "torn.png").write_bytes(b"no image")
    result = CliRunner().invoke(cli.app, [*command, "--json", str(folder / "leaked"), str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["files"], found["read"]) == (5, 4)
    assert {one["user"] for one in found["accused"]} == {"alice", "bob"}
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_image(tmp_path / "noise.png", noise)
    result = CliRunner().invoke(cli.app, [*command, str(tmp_path / "noise.png")])
    assert result.exit_code == 1
    assert "nobody (smallest p = " in result.output


def test_what_cannot_be_traced_is_said(leaked, tmp_path):
    deployment, folder = leaked
    (tmp_path / "torn.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="none of the files could be read"):
        trace(deployment, [tmp_path], alpha=1e-2, seed=0)
    with pytest.raises(ValueError, match="alpha 2"):
        trace(deployment, [folder / "leaked"], alpha=2.0, seed=0)


def test_images_of_averaged_copies_clear_nobody(leaked):
    """They are explained whole, and both made them: once that was `none`."""
    deployment, folder = leaked
    found = list(attribute(deployment, folder / "leaked", Request(method=Method.MULTISTART)))
    assert [it.evidence is not None and it.residual for it in found] == pytest.approx([1] * 4, abs=0.5)
    assert {it.verdict for it in found} == {"inconclusive"}
    assert min(it.miss_p_value or 0 for it in found) < 1e-3
