"""A user's copy as files of other software: the code is in them, and nothing else is changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment
from random_stylegan2 import FIELDS, SIGMA, fit_random_stylegan2
from safetensors.numpy import load_file, save_file

from latentfp import cli, rng
from latentfp.checkpoints import formats, stylegan2
from latentfp.checkpoints.torch_files import flatten, read_tensors
from latentfp.deployment import copies, exports, fitting
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.exports import CopyFormat
from latentfp.fingerprint.copy import apply, copy_for, load, rotated
from latentfp.fingerprint.embed import embed
from latentfp.generators import pretrained
from latentfp.types import by_path

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    made = fit_random_stylegan2(tmp_path_factory.mktemp("exports"))
    made.registry.add(["alice", "bob"], seed=5)
    return made.path


@pytest.fixture(scope="module")
def expected(deployment):
    """Latents of the prior, and the images of alice's code in them."""
    opened = open_deployment(deployment)
    loaded = load_generator(opened)
    w = loaded.generator.sample(loaded.params, rng.root(7), 5)
    code, coding = copies.active(opened, "alice").code, opened.manifest.coding
    marked = jax.vmap(lambda one: embed(opened.space, one, code, sigma=SIGMA, coding=coding))(w)
    assert np.abs(marked - w).max() > 0.1
    return w, loaded.generator.synthesize(loaded.params, marked)


def test_a_copy_is_the_map_that_embeds(deployment, expected):
    opened = open_deployment(deployment)
    code, coding = copies.active(opened, "alice").code, opened.manifest.coding
    copy = copy_for(opened.space, code, sigma=SIGMA, coding=coding)
    turned = rotated(copy, 9)
    np.testing.assert_allclose(turned.axes @ turned.axes.T, np.eye(16), atol=1e-6)
    assert np.abs(turned.axes - copy.axes).max() > 0.1
    assert np.abs(turned.axes @ copy.axes.T).max() < 0.95  # no axis tells a bit
    w = np.asarray(expected[0])
    marked = [embed(opened.space, jnp.asarray(one), code, sigma=SIGMA, coding=coding) for one in w]
    for one in (copy, turned):
        np.testing.assert_allclose(apply(one, w), marked, atol=1e-5)


@pytest.mark.parametrize("form", [CopyFormat.ROSINALITY, CopyFormat.LATENTFP])
def test_what_an_exported_copy_makes_bears_the_code(deployment, expected, tmp_path, form):
    out = tmp_path / "alice"
    assert exports.export_copy(deployment, user="alice", out=out, form=form) is form
    folder = out
    if form is CopyFormat.ROSINALITY:
        folder = tmp_path / "imported"
        formats.import_generator(out, folder)
    loaded = pretrained.load(str(folder))
    w, images = expected
    np.testing.assert_allclose(loaded.generator.synthesize(loaded.params, w), images, atol=1e-4)


def test_the_state_for_nvidias_modules_is_the_same(deployment, tmp_path):
    for form in (CopyFormat.ROSINALITY, CopyFormat.NVIDIA):
        exports.export_copy(deployment, user="alice", out=tmp_path / form, form=form)
    ours = stylegan2.from_rosinality(read_tensors(tmp_path / CopyFormat.ROSINALITY))
    tree = read_tensors(tmp_path / CopyFormat.NVIDIA)
    assert list(tree) == ["G_ema"]
    settings = {f"synthesis.b{r}.conv1.conv_clamp": None for r in (4, 8, 16)}
    theirs = stylegan2.from_nvidia(settings, flatten(tree["G_ema"]))
    # The subspace is rotated anew for every file, so folded weights agree to float32 only.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), theirs.params, ours.params)


@pytest.mark.parametrize("form", [CopyFormat.ROSINALITY, CopyFormat.NVIDIA])
def test_nothing_but_the_affine_layers_changes(deployment, tmp_path, form):
    plain = load_generator(open_deployment(deployment)).params
    exports.export_copy(deployment, user="bob", out=tmp_path / "bob", form=form)
    tree = read_tensors(tmp_path / "bob")
    if form is CopyFormat.ROSINALITY:
        params = stylegan2.from_rosinality(tree).params
    else:
        params = stylegan2.from_nvidia({"b4.conv_clamp": None}, flatten(tree["G_ema"])).params
    found, before = by_path(params), by_path(plain)
    assert found.keys() == before.keys()
    for path, array in found.items():
        assert np.array_equal(array, before[path]) == ("/affine/" not in path), path


def test_a_generator_that_cannot_fold_gives_the_map_of_its_latents(tmp_path):
    path = write_deployment(tmp_path)
    opened = open_deployment(path)
    assert exports.export_copy(path, user="bob", out=tmp_path / "bob.safetensors") is CopyFormat.LATENTS
    found = load_file(tmp_path / "bob.safetensors")
    w = np.random.default_rng(1).standard_normal((4, 48)).astype(np.float32)
    marked = w - (w @ found["axes"].T) @ found["axes"] + found["offset"]
    code = copies.active(opened, "bob").code
    coding = opened.manifest.coding
    expected = [embed(opened.space, jnp.asarray(one), code, sigma=1.0, coding=coding) for one in w]
    np.testing.assert_allclose(marked, expected, atol=1e-5)
    maps = w.reshape(4, 3, 4, 4)
    applied = apply(load(tmp_path / "bob.safetensors"), maps)
    np.testing.assert_allclose(applied, marked.reshape(maps.shape), atol=1e-5)
    assert np.abs(found["axes"] @ np.asarray(opened.space.code_axes).T).max() < 0.95
    with pytest.raises(ValueError, match="a linear cannot have a code built in: export it as latents"):
        exports.export_copy(path, user="bob", out=tmp_path / "bob.pt", form=CopyFormat.NVIDIA)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"axes": np.eye(2, 4)}, "is no copy: it holds"),
        ({"axes": np.eye(2, 4), "offset": np.zeros(3)}, r"expected axes \[k, d\] and offset \[d\]"),
        ({"axes": 2 * np.eye(2, 4), "offset": np.zeros(4)}, "its axes are not orthonormal"),
        ({"axes": np.full((2, 4), np.nan), "offset": np.zeros(4)}, "its axes are not orthonormal"),
    ],
)
def test_what_is_no_copy_is_refused(tmp_path, tensors, message):
    save_file({name: x.astype(np.float32) for name, x in tensors.items()}, tmp_path / "copy")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "copy")


def test_latents_of_another_size_are_refused(tmp_path):
    exports.export_copy(write_deployment(tmp_path), user="bob", out=tmp_path / "bob")
    for shape in ((4, 47), (4, 48, 2), (48,)):
        with pytest.raises(ValueError, match="with 48 numbers each"):
            apply(load(tmp_path / "bob"), np.zeros(shape, np.float32))


def test_a_network_that_clamps_or_has_classes_is_not_written_as_one_that_does_not(deployment):
    loaded = load_generator(open_deployment(deployment))
    with pytest.raises(ValueError, match="clamps at 256, which rosinality's does not: use nvidia"):
        stylegan2.to_rosinality({**FIELDS, "clamp": 256.0}, loaded.params)
    assert list(stylegan2.to_nvidia({**FIELDS, "clamp": 256.0}, loaded.params)) == ["G_ema"]
    with pytest.raises(ValueError, match="has 5 classes, rosinality's has none: use nvidia"):
        stylegan2.to_rosinality({**FIELDS, "classes": 5}, loaded.params)


def test_the_usual_format_is_the_one_that_it_came_in(deployment, tmp_path):
    exports.export_copy(deployment, user="alice", out=tmp_path / "a.pt", form=CopyFormat.ROSINALITY)
    formats.import_generator(tmp_path / "a.pt", tmp_path / "imported")
    again = fitting.fit(
        tmp_path / "d", generator=str(tmp_path / "imported"), sigma=1.0, shift=0, bits=8, samples=500
    )
    again.registry.add(["carol"])
    assert exports.export_copy(again.path, user="carol", out=tmp_path / "c.pt") is CopyFormat.ROSINALITY
    assert exports.export_copy(deployment, user="alice", out=tmp_path / "own") is CopyFormat.LATENTFP


def test_nothing_is_overwritten_and_nobody_else_exported(deployment, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ValueError, match="exists and nothing is overwritten"):
        exports.export_copy(deployment, user="alice", out=tmp_path / "there")
    with pytest.raises(ValueError, match="no user 'eve'"):
        exports.export_copy(deployment, user="eve", out=tmp_path / "eve")
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "eve").exists()


def test_on_the_command_line(deployment, tmp_path, capsys):
    out = tmp_path / "sub" / "alice.pt"
    request = ["users", "export", "alice", "--deployment", str(deployment), "--out", str(out)]
    cli.app([*request, "--format", "rosinality"], standalone_mode=False)
    cli.app(["import", str(out), "--out", str(tmp_path / "g")], standalone_mode=False)
    told = capsys.readouterr().out
    assert f"{out}: the copy of alice, format rosinality" in told
    folder = tmp_path / "g"
    assert f"{folder}: stylegan2 from rosinality. Next: latentfp fit --generator {folder} --sigma 1" in told
