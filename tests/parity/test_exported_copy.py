"""A user's copy in PyTorch: 200 files made by it name the user as well as those of `latentfp generate`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rosinality_torch as theirs
import torch
from linear_space import add_drawn

from latentfp import rng
from latentfp.choices import CopyFormat, Method
from latentfp.data.files import write_image
from latentfp.deployment import copies, fitting
from latentfp.deployment.attribute import Request, attribute
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.fingerprint.embed import embed
from latentfp.generators.stylegan2.model import fresh_noise
from latentfp.pixels import to_pixels

N = 200

pytestmark = pytest.mark.optimised  # 600 files are attributed


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    made = fitting.fit(tmp_path_factory.mktemp("copy") / "deployment", generator="avatars")
    add_drawn(made.registry, ["alice", "bob", "carol"], seed=1)
    return made.path


@pytest.fixture(scope="module")
def state(deployment):
    out = deployment.parent / "alice.pt"
    copies.export_copy(deployment, user="alice", out=out, form=CopyFormat.ROSINALITY)
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def latents(state):
    z = np.random.default_rng(3).standard_normal((N, 512)).astype(np.float32)
    return z, theirs.mapping(state["g_ema"], torch.from_numpy(z))


def maps(kind):
    """Noise maps as PyTorch and as our generator take them: None for the checkpoint's own."""
    if kind == "own":
        return None, None
    ours = fresh_noise(jax.random.key(4), 32, N)
    return [torch.from_numpy(np.array(x))[:, None] for x in ours], ours


def native(deployment, w, noise):
    opened = open_deployment(deployment)
    loaded = load_generator(opened)
    code, manifest = copies.active(opened, "alice").code, opened.manifest

    def mark(one):
        return embed(opened.space, one, code, sigma=manifest.sigma, coding=manifest.coding)

    params = loaded.params if noise is None else {**loaded.params, "noise": noise}
    return np.asarray(to_pixels(loaded.generator.synthesize(params, jax.vmap(mark)(w))))


def read(deployment, folder, images):
    """How many files have all bits right, and how many name alice."""
    folder.mkdir()
    for i, image in enumerate(images):
        write_image(folder / f"{i:03d}.png", image)
    code = copies.active(open_deployment(deployment), "alice").code
    found = list(attribute(deployment, [folder], Request(method=Method.REFINE)))
    read = [np.asarray(one.answer.estimate.code)[0] for one in found if one.answer is not None]
    whole = sum(bool(np.array_equal(bits, code)) for bits in read)
    return whole, sum(one.user == "alice" for one in found)


def test_the_mapping_of_the_copy_is_that_of_the_generator(deployment, latents):
    loaded = load_generator(open_deployment(deployment))
    z, w = latents
    ours = loaded.generator.sample(loaded.params, rng.root(0), 1)
    assert ours.shape == w[:1].shape
    from latentfp.generators.stylegan2.layers import apply
    from latentfp.generators.stylegan2.networks import Mapping

    np.testing.assert_allclose(apply(Mapping(512, 8), loaded.params["mapping"], jnp.asarray(z)), w, atol=1e-4)


@pytest.mark.parametrize("noise", ["own", "fresh"])
def test_files_of_the_copy_name_the_user(deployment, state, latents, tmp_path, noise, capsys):
    w = latents[1]
    for_torch, for_ours = maps(noise)
    with torch.no_grad():
        made = theirs.synthesis(state["g_ema"], w, for_torch or theirs.own_noise(state["g_ema"]))
    images = np.asarray(to_pixels(jnp.asarray(made.permute(0, 2, 3, 1).numpy())))
    expected = native(deployment, jnp.asarray(w.numpy()), for_ours)
    apart = np.abs(images.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    theirs_whole, theirs_named = read(deployment, tmp_path / "theirs", images)
    ours_whole, ours_named = read(deployment, tmp_path / "ours", expected)
    with capsys.disabled():
        print(f"\n{noise} noise: all bits {theirs_whole} and natively {ours_whole} of {N}")  # noqa: T201
    assert theirs_named == ours_named == N
    assert abs(theirs_whole - ours_whole) <= 2
    assert ours_whole > 0.8 * N
