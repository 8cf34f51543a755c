"""A user's copy: its images against the formula of embedding in float64, and its files, in which the code is.

Nothing but the code is changed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import BITS, linear_space, write_deployment, write_generator
from random_stylegan2 import FIELDS, SIGMA, fit_random_stylegan2
from safetensors.numpy import load_file, save_file

from latentfp import cli, rng
from latentfp.checkpoints import formats, stylegan2
from latentfp.checkpoints.torch_files import read_tensors
from latentfp.choices import Coding, CopyFormat, Status
from latentfp.data.files import read_image
from latentfp.deployment import copies, fitting
from latentfp.deployment.constants import subject_of
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.fingerprint.codes import draw_codes
from latentfp.fingerprint.embed import embed
from latentfp.fingerprint.latent_copy import apply, copy_for, load, rotated
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.types import by_path

STRENGTH = 0.8


def issue_some(world, key, codes, *, coding=Coding.ANTIPODAL, first=0):
    generator, params, space = world
    subject = subject_of(Pretrained(generator, params, "", ""), space, sigma=STRENGTH, coding=coding)
    return copies.issue(subject, codes, key=key, first=first)


@pytest.mark.parametrize("coding", Coding)
def test_marked_is_plain_with_the_code_in_place_of_its_own_coordinates(key, coding):
    world = linear_space(key)
    generator, params, space = world
    codes = draw_codes(1, 3, bits=BITS)
    issued = issue_some(world, key, codes, coding=coding, first=5)
    draws = [generator.sample(params, rng.stream(key, "image", 5 + i), 1)[0] for i in range(3)]
    w0 = np.stack([np.asarray(draw, np.float64) for draw in draws])
    mean, v = np.asarray(space.mean, np.float64), np.asarray(space.code_axes, np.float64)
    offset = 0.5 if coding is Coding.ANTIPODAL else 0.0
    w = w0 - (w0 - mean) @ v.T @ v + STRENGTH * (codes - offset) @ v
    for pixels, latents in ((issued.plain, w0), (issued.marked, w)):
        x = 0.5 * latents @ np.asarray(params["matrix"], np.float64).T + np.asarray(params["offset"])
        exact = (np.clip(x, -1, 1) + 1) * 127.5
        # half a level for rounding, and float32's share of 255 levels
        assert np.abs(pixels.reshape(3, -1) - exact).max() < 0.5 + 1e-3


def test_an_image_follows_from_its_number_alone(key):
    world = linear_space(key)
    n = copies.BATCH + 3
    codes = np.tile(draw_codes(1, 1, bits=BITS), (n, 1))
    together = issue_some(world, key, codes)
    later = issue_some(world, key, codes[:4], first=n - 4)
    assert together.marked.shape == (n, *world[0].image_shape)
    for one, all_of_them in zip(later, together, strict=True):
        np.testing.assert_array_equal(one, all_of_them[-4:])
    assert len({image.tobytes() for image in together.plain}) == n


def test_the_same_latent_bears_any_code(key):
    world = linear_space(key)
    codes = draw_codes(1, 2, bits=BITS)
    one, other = (issue_some(world, key, code[None]) for code in codes)
    np.testing.assert_array_equal(one.plain, other.plain)
    assert (one.marked != other.marked).any()


def test_large_images_are_made_in_small_batches(key, monkeypatch):
    world = linear_space(key)
    codes = np.tile(draw_codes(1, 1, bits=BITS), (5, 1))
    assert copies.batch_of(world[0]) == copies.BATCH
    sizes = {(256, 256, 3): 8, (1024, 1024, 3): 1, (4096, 4096, 3): 1, (128, 128, 3): 32}
    for shape, batch in sizes.items():
        assert copies.batch_of(world[0]._replace(image_shape=shape)) == batch
    expected = issue_some(world, key, codes)
    monkeypatch.setattr(copies, "PIXELS", 2 * 8 * 8)
    assert copies.batch_of(world[0]) == 2
    found = issue_some(world, key, codes)
    assert np.abs(found.marked.astype(int) - expected.marked).max() <= 1


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return write_deployment(tmp_path_factory.mktemp("copies"))


def generate(linear, out, **changed):
    request = {"user": "alice", "count": 3, "seed": 7, "suffix": "png", **changed}
    return copies.generate_files(linear, out=out, **request).paths


def test_files_bear_the_users_code(linear, tmp_path):
    paths = generate(linear, tmp_path / "a/b")
    names = ["alice-7-0000.png", "alice-7-0001.png", "alice-7-0002.png"]
    assert [path.name for path in paths] == names
    opened = open_deployment(linear)
    loaded = load_generator(opened)
    images = np.stack([read_image(path, size=(8, 8)) for path in paths]) / 127.5 - 1
    matrix, offset = (np.asarray(loaded.params[name], np.float64) for name in ("matrix", "offset"))
    w = (images.reshape(3, -1) - offset) @ matrix / 0.5
    marks = (w - np.asarray(opened.space.mean)) @ np.asarray(opened.space.code_axes, np.float64).T
    assert ((marks > 0) == opened.registry.users()[0].code).all()


def test_groups_and_counts_continue_one_stream(linear, tmp_path, monkeypatch):
    whole = generate(linear, tmp_path / "whole", count=5)
    monkeypatch.setattr(copies, "GROUP", 2)
    parts = generate(linear, tmp_path / "parts", count=5)
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in parts]
    assert len({path.read_bytes() for path in whole}) == 5


def test_users_and_seeds_have_their_own_images(linear, tmp_path):
    requests = ({}, {"user": "bob"}, {"seed": 8})
    made = [generate(linear, tmp_path, count=1, **changed)[0] for changed in requests]
    assert len({path.read_bytes() for path in made}) == 3


def test_nothing_is_overwritten(linear, tmp_path):
    (tmp_path / "alice-7-0001.png").write_text("mine")
    with pytest.raises(ValueError, match=r"alice-7-0001\.png exists"):
        generate(linear, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_interrupted_goes_on(linear, tmp_path, monkeypatch):
    """Files that are there stay as they are, the missing ones are made, and all are those of one call."""
    whole = generate(linear, tmp_path / "whole", count=5)
    write, calls = copies.write_image, []

    def full(path, pixels):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device", str(path))
        write(path, pixels)

    monkeypatch.setattr(copies, "write_image", full)
    with pytest.raises(OSError, match=r"No space left on device.*alice-7-0002\.png"):
        generate(linear, tmp_path / "parts", count=5)
    monkeypatch.setattr(copies, "write_image", write)
    kept = (tmp_path / "parts/alice-7-0000.png").stat().st_mtime_ns
    request = {"user": "alice", "seed": 7, "suffix": "png", "out": tmp_path / "parts"}
    assert copies.generate_files(linear, count=4, **request).there == 2
    written = copies.generate_files(linear, count=5, **request)
    assert written.there == 4
    assert (tmp_path / "parts/alice-7-0000.png").stat().st_mtime_ns == kept
    assert [path.read_bytes() for path in written.paths] == [path.read_bytes() for path in whole]


def test_images_of_another_deployment_are_not_mixed_with(linear, tmp_path):
    other = write_deployment(tmp_path, sigma=1.1)
    (first, *_) = generate(linear, tmp_path / "images")
    before = first.read_bytes()
    with pytest.raises(ValueError, match=r"alice-7-0000\.png exists and is another image"):
        generate(other, tmp_path / "images", count=9)
    assert first.read_bytes() == before
    assert len(list((tmp_path / "images").glob("*.png"))) == 3


def test_arrays_are_what_the_files_hold(linear, tmp_path):
    files = [read_image(path, size=None) for path in generate(linear, tmp_path)]
    arrays = copies.generate(linear, user="alice", count=3, seed=7)
    assert arrays.dtype == np.uint8
    np.testing.assert_array_equal(arrays, files)
    later = copies.generate(linear, user="alice", count=1, seed=7, first=2)
    np.testing.assert_array_equal(later, files[2:])
    entries = [entry.subject for entry in open_deployment(linear).registry.audit()][-2:]
    assert '"seed":7' in entries[0].replace(" ", "")
    assert '"first":2' in entries[1].replace(" ", "")


def test_a_name_is_what_the_registry_makes_of_it(tmp_path):
    """However its accents are composed, so that the same request gives the same files."""
    path = write_deployment(tmp_path)
    open_deployment(path).registry.add(["Ren\u00e9"])
    made = [generate(path, tmp_path / name, user=name, count=1)[0] for name in ("Ren\u00e9", "Rene\u0301")]
    assert [one.name for one in made] == ["Ren\u00e9-7-0000.png"] * 2
    assert made[0].read_bytes() == made[1].read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 2**64}, r"seed 18446744073709551616, expected 0 … 2\^64 - 1"),
        ({"seed": -1}, "seed -1, expected 0"),
        ({"count": 0}, "got 0 images"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_loaded(linear, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        generate(open_deployment(linear, generator="nothing"), tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_of_64_bits_is_another_one(linear):
    """Only the low 32 bits of a seed counted before: 2^32 + 7 gave the images of 7."""
    images = [copies.generate(linear, user="bob", count=1, seed=seed) for seed in (7, 2**32 + 7, 2**63)]
    assert len({image.tobytes() for image in images}) == 3


def test_the_longest_username_begins_names_of_files(tmp_path):
    path, name = write_deployment(tmp_path), "\U00020000" * 48  # 192 bytes
    open_deployment(path).registry.add([name])
    (written,) = generate(path, tmp_path / "out", user=name, count=1, seed=2**64 - 1)
    assert written.is_file()


def test_a_stranger_has_no_copy(linear, tmp_path):
    with pytest.raises(ValueError, match="no user 'eve'"):
        generate(linear, tmp_path, user="eve")


def test_a_revoked_user_has_no_copy(linear, tmp_path):
    registry = open_deployment(linear).registry
    registry.add(["mallory"], seed=1)
    registry.set_status("mallory", Status.REVOKED, note="left")
    with pytest.raises(ValueError, match=r"mallory.* is revoked"):
        generate(linear, tmp_path, user="mallory")
    assert list(tmp_path.iterdir()) == []


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
    w = jax.jit(loaded.generator.sample, static_argnums=2)(loaded.params, rng.root(7), 5)
    code, coding = copies.active(opened, "alice").code, opened.manifest.coding
    marked = jax.vmap(lambda one: embed(opened.space, one, code, sigma=SIGMA, coding=coding))(w)
    assert np.abs(marked - w).max() > 0.1
    return w, jax.jit(loaded.generator.synthesize)(loaded.params, marked)


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


@pytest.mark.parametrize("form", [CopyFormat.ROSINALITY, CopyFormat.NVIDIA, CopyFormat.LATENTFP])
def test_what_an_exported_copy_makes_bears_the_code(deployment, expected, tmp_path, form):
    out = tmp_path / "alice"
    assert copies.export_copy(deployment, user="alice", out=out, form=form) is form
    _, origin = formats.import_generator(out, tmp_path / "imported")
    assert origin.format.value == form.value
    loaded = pretrained.load(str(tmp_path / "imported"))
    w, images = expected
    np.testing.assert_allclose(loaded.generator.synthesize(loaded.params, w), images, atol=1e-4)


def test_the_state_for_nvidias_modules_is_the_same(deployment, tmp_path):
    for form in (CopyFormat.ROSINALITY, CopyFormat.NVIDIA):
        copies.export_copy(deployment, user="alice", out=tmp_path / form, form=form)
    ours = stylegan2.from_rosinality(read_tensors(tmp_path / CopyFormat.ROSINALITY))
    tree = read_tensors(tmp_path / CopyFormat.NVIDIA)
    assert list(tree) == ["G_ema", "settings"]
    theirs = stylegan2.from_nvidia_state(tree)
    # The subspace is rotated anew for every file, so folded weights agree to float32 only.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), theirs.params, ours.params)


@pytest.mark.parametrize("form", [CopyFormat.ROSINALITY, CopyFormat.NVIDIA])
def test_nothing_but_the_affine_layers_changes(deployment, tmp_path, form):
    plain = load_generator(open_deployment(deployment)).params
    copies.export_copy(deployment, user="bob", out=tmp_path / "bob", form=form)
    tree = read_tensors(tmp_path / "bob")
    if form is CopyFormat.ROSINALITY:
        params = stylegan2.from_rosinality(tree).params
    else:
        params = stylegan2.from_nvidia_state(tree).params
    found, before = by_path(params), by_path(plain)
    assert found.keys() == before.keys()
    for path, array in found.items():
        assert np.array_equal(array, before[path]) == ("/affine/" not in path), path


def test_a_generator_that_cannot_fold_gives_the_map_of_its_latents(tmp_path):
    path = write_deployment(tmp_path)
    opened = open_deployment(path)
    assert copies.export_copy(path, user="bob", out=tmp_path / "bob.safetensors") is CopyFormat.LATENTS
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
        copies.export_copy(path, user="bob", out=tmp_path / "bob.pt", form=CopyFormat.NVIDIA)


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
    copies.export_copy(write_deployment(tmp_path), user="bob", out=tmp_path / "bob")
    for shape in ((4, 47), (4, 48, 2), (48,)):
        with pytest.raises(ValueError, match="with 48 numbers each"):
            apply(load(tmp_path / "bob"), np.zeros(shape, np.float32))


def test_a_network_that_clamps_or_has_classes_is_not_written_as_one_that_does_not(deployment):
    loaded = load_generator(open_deployment(deployment))
    with pytest.raises(ValueError, match=r"clamps at 256\.0, which rosinality's cannot: use nvidia"):
        stylegan2.to_rosinality({**FIELDS, "clamp": 256.0}, loaded.params)
    written = stylegan2.to_nvidia({**FIELDS, "clamp": 256.0}, loaded.params)
    assert stylegan2.from_nvidia_state(written).fields["clamp"] == 256.0
    with pytest.raises(ValueError, match="has 5 classes, which rosinality's cannot: use nvidia"):
        stylegan2.to_rosinality({**FIELDS, "classes": 5}, loaded.params)


def test_the_usual_format_is_the_one_that_it_came_in(deployment, tmp_path):
    copies.export_copy(deployment, user="alice", out=tmp_path / "a.pt", form=CopyFormat.ROSINALITY)
    formats.import_generator(tmp_path / "a.pt", tmp_path / "imported")
    again = fitting.fit(
        tmp_path / "d", generator=str(tmp_path / "imported"), sigma=1.0, shift=0, bits=8, samples=500
    )
    again.registry.add(["carol"])
    assert copies.export_copy(again.path, user="carol", out=tmp_path / "c.pt") is CopyFormat.ROSINALITY
    assert copies.export_copy(deployment, user="alice", out=tmp_path / "own") is CopyFormat.LATENTFP


@pytest.mark.parametrize("form", [CopyFormat.ROSINALITY, CopyFormat.LATENTFP])
def test_the_generator_without_a_code_is_exported_too(deployment, tmp_path, form):
    opened = open_deployment(deployment)
    plain, name = load_generator(opened), opened.manifest.generator.name
    assert copies.export_generator(name, out=tmp_path / "plain", form=form) is form
    folder = tmp_path / "plain"
    if form is CopyFormat.ROSINALITY:
        folder = tmp_path / "imported"
        formats.import_generator(tmp_path / "plain", folder)
    found = pretrained.load(str(folder))
    w = plain.generator.sample(plain.params, rng.root(7), 2)
    images = [np.asarray(it.generator.synthesize(it.params, w)) for it in (found, plain)]
    np.testing.assert_array_equal(images[0], images[1])


def test_what_has_no_code_has_no_map_and_no_format_of_others(tmp_path):
    generator = write_generator(tmp_path / "g", latent_dim=24, size=8)
    assert copies.export_generator(generator, out=tmp_path / "own") is CopyFormat.LATENTFP
    with pytest.raises(ValueError, match="no map of the latents"):
        copies.export_generator(generator, out=tmp_path / "x", form=CopyFormat.LATENTS)
    with pytest.raises(ValueError, match="a linear is not written in the format rosinality: use latentfp"):
        copies.export_generator(generator, out=tmp_path / "x", form=CopyFormat.ROSINALITY)


def test_no_file_is_overwritten_and_nobody_else_exported(deployment, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ValueError, match="exists and nothing is overwritten"):
        copies.export_copy(deployment, user="alice", out=tmp_path / "there")
    with pytest.raises(ValueError, match="no user 'eve'"):
        copies.export_copy(deployment, user="eve", out=tmp_path / "eve")
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
