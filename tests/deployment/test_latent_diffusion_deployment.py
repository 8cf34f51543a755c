"""The embedded latent diffusion through the same commands as every generator: files in, names out."""

import json

import numpy as np
import pytest

from latentfp import cli, rng
from latentfp.data.files import write_image
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import load_generator, open_deployment

pytestmark = pytest.mark.slow
USERS = ("alice", "bob")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Its usual deployment with two users, two images of each, and an unmarked one."""
    folder = tmp_path_factory.mktemp("diffusion")
    at = ["--deployment", str(folder / "deployment")]
    cli.app(["fit", "--generator", "avatars-ldm", "--out", str(folder / "deployment")], standalone_mode=False)
    cli.app(["users", "add", *at, *USERS], standalone_mode=False)
    for user in USERS:
        made = ["--user", user, "--count", "2", "--out", str(folder / "images"), "--seed", "1"]
        cli.app(["generate", *at, *made], standalone_mode=False)
    opened = open_deployment(folder / "deployment")
    subject = subject_in(opened, load_generator(opened))
    unmarked = issue(subject, np.zeros((1, subject.bits), bool), key=rng.root(9)).plain[0]
    write_image(folder / "images" / "nobody.png", unmarked)
    return folder


def test_files_are_attributed_and_unmarked_ones_are_not(folder, capsys):
    capsys.readouterr()
    asked = ["attribute", str(folder / "images"), "--deployment", str(folder / "deployment"), "--json"]
    cli.app(asked, standalone_mode=False)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = {line["file"].rpartition("/")[2].partition("-")[0]: line["user"] for line in found}
    assert named == {"alice": "alice", "bob": "bob", "nobody.png": None}
    assert len(found) == 5
    assert {line["stage"] for line in found if line["user"]} == {"refine"}
    # The encoder's look, and the decoder's: the encoder once more and two of its network.
    assert {line["iterations"] for line in found if line["user"]} == {1 + 3}
