"""Files of one origin together, through files, the command and the API."""

import json
from typing import Any

import numpy as np
import pytest
from linear_space import add_drawn, write_deployment
from typer.testing import CliRunner

import latentfp as lf
from latentfp import cli
from latentfp.data.files import read_image, write_image
from latentfp.deployment.attribute import Request
from latentfp.deployment.copies import generate_files
from latentfp.deployment.deployment import open_deployment
from latentfp.deployment.origin import attribute_together

ALPHA, FILES = 1e-4, 8


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    """A deployment of four users, noisy files of alice, of which one occurs twice, and a clean one of bob."""
    folder = tmp_path_factory.mktemp("origin")
    deployment = write_deployment(folder, sigma=0.5)
    add_drawn(open_deployment(deployment).registry, ["carol", "dave"], seed=2)
    random = np.random.default_rng(0)
    for user, count in (("alice", FILES), ("bob", 1)):
        generate_files(deployment, user=user, count=count, out=folder / user, seed=7, suffix="png")
    for path in (folder / "alice").iterdir():
        noisy = read_image(path, size=(8, 8)) + random.normal(0, 25, (8, 8, 3))
        write_image(path, np.clip(np.round(noisy), 0, 255).astype(np.uint8))
    first = min((folder / "alice").iterdir())
    write_image(folder / "alice" / "again.png", read_image(first, size=(8, 8)))
    return deployment, folder


def test_together_they_name_whom_none_of_them_names_alone(posts):
    deployment, folder = posts
    alone = lf.open(deployment).attribute(folder / "alice", alpha=ALPHA)
    assert {it.verdict for it in alone} == {"inconclusive"}
    found = lf.open(deployment).attribute(folder / "alice", together=True, alpha=ALPHA)
    assert (found.verdict, found.user) == ("user", "alice")
    assert found.p_value is not None
    assert found.p_value <= ALPHA
    assert [it.counts for it in found.parts].count(False) == 1
    (twice,) = (it for it in found.parts if not it.counts)
    assert twice.why.startswith("the same image as ")
    entry = list(open_deployment(deployment).registry.audit())[-1]
    assert entry.action == "attribute together"
    assert json.loads(entry.subject)["user"] == "alice"


def test_whoever_contradicts_is_left_out(posts):
    deployment, folder = posts
    (bobs,) = (folder / "bob").iterdir()
    found = attribute_together(deployment, [folder / "alice", bobs], Request(alpha=ALPHA))
    assert found.user == "alice"
    (out,) = (it for it in found.parts if it.file == str(bobs))
    assert (out.counts, out.why) == (False, "contradicts the others")


def test_the_command(posts, tmp_path):
    deployment, folder = posts
    command = ["attribute", "--together", "--deployment", str(deployment), "--alpha", str(ALPHA)]
    (tmp_path / "torn.png").write_bytes(b"no image")
    both = [str(folder / "alice"), str(tmp_path)]
    result = CliRunner().invoke(cli.app, [*command, *both])
    assert result.exit_code == 0, result.output
    *left_out, said = result.stdout.splitlines()
    assert len(left_out) == 2
    assert said.startswith(f"{FILES} of {FILES + 2} files together: alice (")
    found = json.loads(CliRunner().invoke(cli.app, [*command, "--json", *both]).stdout)
    assert (found["user"], len(found["parts"])) == ("alice", FILES + 2)
    (tmp_path / "foreign").mkdir()
    foreign = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(foreign):
        write_image(tmp_path / "foreign" / f"{i}.png", image)
    result = CliRunner().invoke(cli.app, [*command, str(tmp_path / "foreign")])
    assert result.exit_code == 1
    assert "inconclusive" in result.stdout


def test_what_is_of_single_files_is_refused(posts):
    deployment, folder = posts
    for option in (["--case"], ["--method", "refine"], ["--damage", "blur=1"]):
        command = ["attribute", "--together", "--deployment", str(deployment), *option, str(folder / "alice")]
        result = CliRunner().invoke(cli.app, command)
        assert isinstance(result.exception, ValueError)
        assert "--together takes" in str(result.exception)
    options: dict[str, Any] = {"together": True, "case": True}
    with pytest.raises(ValueError, match="judged one by one"):
        lf.open(deployment).attribute(folder / "alice", **options)
    with pytest.raises(ValueError, match="none of the files could be read"):
        attribute_together(deployment, [folder / "nothing.png"])
