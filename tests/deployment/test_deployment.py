"""A deployment is made whole or not at all, and opened only as it was made."""

import json
import os
import shutil
import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import latentfp
from latentfp import rng
from latentfp.choices import Coding
from latentfp.deployment import deployment as deployments
from latentfp.deployment import manifest as manifests
from latentfp.deployment.deployment import create, load_generator, open_deployment
from latentfp.deployment.manifest import TamperedDeployment
from latentfp.deployment.registry import Registry
from latentfp.fingerprint.basis import split
from latentfp.generators import linear, pretrained

PARTS = ["manifest.json", "basis.safetensors", "users.sqlite"]


def assert_same(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_is_written_is_opened(tmp_path, settings):
    made = create(tmp_path / "new" / "deployment", **settings)
    opened = open_deployment(str(tmp_path / "new" / "deployment"))
    manifest = opened.manifest
    assert manifest == made.manifest
    for name in ("generator", "sigma", "shift", "bits", "coding", "min_distance"):
        assert getattr(manifest, name) == settings[name]
    versions = {"jax": jax.__version__, "latentfp": latentfp.__version__, "numpy": np.__version__}
    assert manifest.versions == versions
    assert_same(opened.basis, settings["basis"])
    assert_same(opened.space, split(settings["basis"], shift=4, bits=16))
    assert opened.registry.users() == []


def test_the_folder_holds_three_files_for_its_owner_alone(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(PARTS)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_users_do_not_touch_the_other_parts(folder):
    before = {name: (folder / name).read_bytes() for name in PARTS[:2]}
    open_deployment(folder).registry.add(["carol"])
    assert before == {name: (folder / name).read_bytes() for name in PARTS[:2]}
    assert [user.name for user in open_deployment(folder).registry.users()] == ["alice", "bob", "carol"]


@pytest.mark.parametrize("kind", ["file", "empty folder", "deployment", "dangling link"])
def test_nothing_is_overwritten(kind, tmp_path, settings):
    path = tmp_path / "taken"
    {
        "file": path.touch,
        "empty folder": path.mkdir,
        "deployment": lambda: create(path, **settings),
        "dangling link": lambda: path.symlink_to("nowhere"),
    }[kind]()
    before = path.lstat()
    with pytest.raises(ValueError, match="exists and a deployment overwrites nothing: choose another folder"):
        create(path, **settings)
    assert path.lstat() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0.0}, "sigma 0"),
        ({"sigma": float("nan")}, "sigma nan"),
        ({"sigma": float("inf")}, "sigma inf"),
        ({"bits": 24}, "does not fit 24 axes"),
        ({"bits": 1}, "1 bits, expected at least 2"),
        ({"shift": 9}, "axes 9 … 24 are not all among"),
        ({"min_distance": 0}, "min_distance 0, expected 1 … 16"),
        ({"min_distance": 17}, "min_distance 17, expected 1 … 16"),
        ({"generator": manifests.GeneratorFacts("linear", "abc")}, "expected 64 hexadecimal digits"),
        ({"generator": manifests.GeneratorFacts("", "ab" * 32)}, "a generator without a name"),
    ],
)
def test_values_are_checked_before_anything_is_written(change, message, tmp_path, settings):
    with pytest.raises(ValueError, match=message):
        create(tmp_path / "sub" / "deployment", **{**settings, **change})
    assert list(tmp_path.iterdir()) == []


def test_a_basis_of_NaN_is_refused(tmp_path, settings):
    broken = settings["basis"]._replace(mean=jnp.full(24, jnp.nan))
    with pytest.raises(ValueError, match="NaN or infinite"):
        create(tmp_path / "deployment", **{**settings, "basis": broken})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stop"]
)
def test_half_written_leaves_nothing(step, failure, tmp_path, settings, monkeypatch):
    """Each of the four things that creation does to the disk fails in turn."""
    steps = [(os, "fsync"), (deployments, "to_json"), (Registry, "create"), (Path, "rename")]

    def fail(*_):
        raise failure

    monkeypatch.setattr(*steps[step], fail)
    with pytest.raises(type(failure)):
        create(tmp_path / "deployment", **settings)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    create(tmp_path / "deployment", **settings)


def test_there_is_no_deployment(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"holds no manifest.json, so no deployment"):
            open_deployment(path)


@pytest.mark.parametrize("part", PARTS[1:])
def test_missing_parts_are_named(part, folder):
    (folder / part).unlink()
    with pytest.raises(TamperedDeployment, match=f"{part}: found no such file"):
        open_deployment(folder)


@pytest.mark.parametrize("part", PARTS[:2])
def test_no_flipped_bit_goes_unseen(part, folder):
    data, random = (folder / part).read_bytes(), np.random.default_rng(8)
    for at in random.choice(len(data), 20, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(8))
        (folder / part).write_bytes(bytes(flipped))
        with pytest.raises(TamperedDeployment, match=part):
            open_deployment(folder)


@pytest.mark.parametrize("part", PARTS)
def test_truncated_and_swapped_parts_are_refused(part, folder, tmp_path, settings):
    data = (folder / part).read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        (folder / part).write_bytes(data[:length])
        with pytest.raises(TamperedDeployment, match=part):
            open_deployment(folder)
    other = {**settings, "basis": settings["basis"]._replace(mean=jnp.zeros(24)), "sigma": 0.25}
    create(tmp_path / "other", **other)
    shutil.copy(tmp_path / "other" / part, folder / part)
    with pytest.raises(TamperedDeployment):
        open_deployment(folder)


def test_the_hash_of_a_basis_is_in_the_message(folder):
    data = (folder / "basis.safetensors").read_bytes()
    (folder / "basis.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    expected, found = manifests.sha256(data), manifests.sha256((folder / "basis.safetensors").read_bytes())
    with pytest.raises(TamperedDeployment) as caught:
        open_deployment(folder)
    assert str(caught.value) == (
        f"{folder / 'basis.safetensors'}: found SHA-256 {found}, expected {expected}; "
        "restore it from a copy or fit a new deployment"
    )


@pytest.mark.parametrize("kind", ["names", "shapes", "format"])
def test_a_basis_with_the_right_hash_must_still_be_one(kind, folder):
    arrays = safetensors.numpy.load((folder / "basis.safetensors").read_bytes())
    data = {
        "names": safetensors.numpy.save({**arrays, "more": arrays["mean"]}),
        "shapes": safetensors.numpy.save({**arrays, "mean": arrays["mean"][1:]}),
        "format": b"not safetensors",
    }[kind]
    (folder / "basis.safetensors").write_bytes(data)
    stated = manifests.read_manifest(folder / "manifest.json")
    parts = {"basis.safetensors": manifests.sha256(data)}
    (folder / "manifest.json").write_bytes(manifests.to_json(stated._replace(parts=parts)))
    with pytest.raises(TamperedDeployment, match=r"basis\.safetensors: (not the arrays|found shapes)"):
        open_deployment(folder)


@pytest.fixture
def home(tmp_path):
    """A generator's folder."""
    fields = {"latent_dim": 24, "size": 4}
    params = linear.init(rng.root(3), **fields)
    pretrained.save(tmp_path / "home", kind="linear", fields=fields, params=params, noise_seed=7)
    return tmp_path / "home"


def facts_of(home):
    loaded = pretrained.load(home)
    return manifests.GeneratorFacts(loaded.name, loaded.identity)


def test_the_generator_may_move(tmp_path, settings, home):
    deployment = create(tmp_path / "deployment", **{**settings, "generator": facts_of(home)})
    identity = load_generator(deployment).identity
    home.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"no copy of its generator, .*: say where it lies with --generator"):
        load_generator(deployment)
    where = str(tmp_path / "moved")
    assert load_generator(open_deployment(deployment.path, generator=where)).identity == identity
    there = open_deployment(deployment.path, generator=pretrained.load(where))
    assert load_generator(there).identity == identity


def test_a_copy_of_the_generator_goes_with_the_deployment(tmp_path, settings, home):
    facts = facts_of(home)
    made = create(tmp_path / "deployment", **{**settings, "generator": facts}, bundle=home)
    shutil.rmtree(home)
    made.path.rename(tmp_path / "elsewhere")
    assert load_generator(open_deployment(tmp_path / "elsewhere")).identity == facts.identity
    weights = tmp_path / "elsewhere/generator/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(TamperedDeployment, match=r"elsewhere/generator: .*was changed or damaged"):
        load_generator(open_deployment(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "changed", [{"noise_seed": 8}, {"fields": {"latent_dim": 24, "size": 4, "gain": 1.0}}]
)
def test_another_generator_is_refused(tmp_path, settings, home, changed):
    deployment = create(tmp_path / "deployment", **{**settings, "generator": facts_of(home)})
    (home / "generator.json").write_text(
        json.dumps({**json.loads((home / "generator.json").read_text()), **changed})
    )
    with pytest.raises(TamperedDeployment, match=f"^{home}: found a generator .*, expected"):
        load_generator(deployment)
    with pytest.raises(ValueError, match=r"is another generator: found .*, expected"):
        load_generator(deployment._replace(generator=str(home)))


def test_a_generator_of_other_latents_is_refused(tmp_path, settings):
    params = linear.init(rng.root(3), latent_dim=23, size=4)
    home = tmp_path / "other"
    pretrained.save(home, kind="linear", fields={"latent_dim": 23, "size": 4}, params=params, noise_seed=0)
    deployment = create(tmp_path / "deployment", **{**settings, "generator": facts_of(home)})
    with pytest.raises(TamperedDeployment, match="found 23 latent dimensions, expected 24 as in the basis"):
        load_generator(deployment)


def test_both_codings_are_kept(tmp_path, settings):
    for coding in Coding:
        made = create(tmp_path / coding.value, **{**settings, "coding": coding})
        assert open_deployment(made.path).manifest.coding is coding
