import hashlib
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from latentfp.generators import linear, pretrained
from latentfp.generators.pretrained import DESCRIPTION, KINDS, WEIGHTS
from latentfp.generators.stylegan2 import model
from latentfp.runtime.files import file_hash
from latentfp.types import by_path

STAGE = {"channels": [4, 4], "blocks": 1, "latent": 2, "groups": 2}
FIELDS = {
    "first_stage": {"size": 8, "network": STAGE, "scale": 1.5},
    "latent_diffusion": {
        "size": 8,
        "first_stage": STAGE,
        "denoiser": {"channels": [4, 8], "blocks": 1, "attention": [1], "head": 4, "groups": 2},
        "scale": 1.5,
        "steps": 3,
    },
    "linear": {"latent_dim": 6, "size": 4, "gain": 0.25},
    "stylegan2": {"size": 16, "channels": [4, 3, 2], "latent_dim": 5, "mapping_layers": 2, "clamp": 9.0},
}
DIMENSIONS = {"first_stage": 4 * 4 * 2, "latent_diffusion": 4 * 4 * 2, "linear": 6, "stylegan2": 5}
GENERATORS = sorted(KINDS)


def random_params(kind):
    draw = np.random.default_rng(3)
    shapes = jax.eval_shape(lambda: KINDS[kind].template(FIELDS[kind]))
    return jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), shapes)


def write(folder, kind="linear", **options):
    params = random_params(kind)
    pretrained.save(folder, kind=kind, fields=FIELDS[kind], params=params, noise_seed=11, **options)
    return params


@pytest.fixture
def folder(tmp_path):
    """A generator that each test damages in its way."""
    write(tmp_path)
    return tmp_path


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("kind", GENERATORS)
def test_what_was_saved_is_loaded(tmp_path, kind, half):
    params = write(tmp_path, kind, half=half)
    loaded = pretrained.load(str(tmp_path))
    stored = {name: loaded.params[name] for name in params}
    assert_equal(stored, jax.tree.map(np.float16, params) if half else params)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {jnp.dtype("float32")}
    assert {array.dtype for array in load_file(tmp_path / WEIGHTS).values()} == {
        np.dtype("float16" if half else "float32")
    }
    assert (loaded.name, loaded.folder) == (str(tmp_path), tmp_path)
    assert loaded.generator.name == kind
    assert loaded.generator.latent_dim == DIMENSIONS[kind]


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_that_is_loaded_again_compiles_nothing_again(tmp_path, kind):
    write(tmp_path / "one", kind)
    write(tmp_path / "two", kind)
    traces = []

    @partial(jax.jit, static_argnums=0)
    def render(generator, params, w):
        traces.append(generator)
        return generator.synthesize(params, w)

    for folder in ("one", "two", "one"):
        loaded = pretrained.load(str(tmp_path / folder))
        jax.eval_shape(partial(render, loaded.generator), loaded.params, jnp.zeros((1, DIMENSIONS[kind])))
    assert len(traces) == 1
    assert hash(loaded.generator) == hash(traces[0])


def test_generators_of_other_fields_are_others():
    assert linear.make(latent_dim=6, size=4) is linear.make(latent_dim=6, size=4, gain=0.5)
    assert linear.make(latent_dim=6, size=4) != linear.make(latent_dim=6, size=4, gain=0.25)
    fields = FIELDS["stylegan2"]
    assert model.make(**fields) is model.make(**fields | {"channels": (4, 3, 2)})
    assert model.make(**fields) != model.make(**fields | {"clamp": None})


def test_an_autoencoder_alone_renders_and_draws_nothing(tmp_path):
    params = write(tmp_path, "first_stage", half=False)
    stored = pretrained.read(tmp_path)
    assert (stored.kind, stored.fields) == ("first_stage", FIELDS["first_stage"])
    assert_equal(stored.params, params)
    loaded = pretrained.load(str(tmp_path))
    images = loaded.generator.synthesize(loaded.params, jnp.zeros((1, loaded.generator.latent_dim)))
    assert images.shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match="draws no latents: give those of your pipeline"):
        loaded.generator.sample(loaded.params, jax.random.key(0), 1)


def test_noise_maps_follow_from_the_seed(tmp_path):
    params = write(tmp_path, "stylegan2")
    loaded = pretrained.load(str(tmp_path))
    assert loaded.params.keys() == params.keys() | {"noise"}
    assert_equal(loaded.params["noise"], model.fixed_noise(16, 11))


def test_saving_again_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, "stylegan2")
    assert (tmp_path / "one" / WEIGHTS).read_bytes() == (tmp_path / "two" / WEIGHTS).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [DESCRIPTION, WEIGHTS]


def test_shipped_generators_go_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path / "nothing")
    assert pretrained.shipped() == []
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "flat")
    assert pretrained.shipped() == ["flat"]
    assert pretrained.load("flat").name == "flat"
    with pytest.raises(ValueError, match=r"no generator 'empty': give one of \['flat'\] or a folder with"):
        pretrained.load("empty")


@pytest.mark.parametrize("name", pretrained.shipped())
def test_every_shipped_generator_opens(name):
    loaded = pretrained.load(name)
    generator = loaded.generator
    images = jax.jit(lambda params, key: generator.synthesize(params, generator.sample(params, key, 2)))(
        loaded.params, jax.random.key(0)
    )
    assert images.shape == (2, *loaded.generator.image_shape)
    assert np.isfinite(images).all()
    assert 0.2 < np.abs(images).mean() < 1.5  # a picture in [-1, 1], neither grey nor saturated


def test_changed_weights_are_refused(folder):
    damaged = bytearray((folder / WEIGHTS).read_bytes())
    damaged[-1] ^= 1
    (folder / WEIGHTS).write_bytes(damaged)
    with pytest.raises(ValueError, match=r"has SHA-256 \w{64}, but generator.json says \w{64}: the file was"):
        pretrained.load(str(folder))


def test_missing_weights_are_refused(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"has no weights\.safetensors"):
        pretrained.load(str(folder))


def describe(folder, **changes):
    description = json.loads((folder / DESCRIPTION).read_text()) | changes
    (folder / DESCRIPTION).write_text(json.dumps(description))


def replace_weights(folder, content):
    if isinstance(content, bytes):
        (folder / WEIGHTS).write_bytes(content)
    else:
        save_file(content, folder / WEIGHTS)
    describe(folder, sha256=file_hash(folder / WEIGHTS))


def test_all_that_does_not_fit_is_reported_together(folder):
    arrays = load_file(folder / WEIGHTS)
    del arrays["scale"]
    arrays["offset"] = np.zeros(3, np.float32)
    arrays["more"] = np.zeros(1, np.float32)
    replace_weights(folder, arrays)
    expected = r"missing \['scale'\], unused \['more'\], misshapen \['offset'\]"
    with pytest.raises(ValueError, match=expected):
        pretrained.load(str(folder))


def test_weights_of_another_format_are_refused(folder):
    replace_weights(folder, b"not tensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors is not a safetensors file"):
        pretrained.load(str(folder))


@pytest.mark.parametrize("content", ['{"kind": "linear", "fie', "", "[1, 2]", "null", "\udcff"])
def test_a_broken_description_is_refused(folder, content):
    (folder / DESCRIPTION).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"generator\.json is not a generator's description"):
        pretrained.load(str(folder))


def test_an_incomplete_description_is_refused(folder):
    (folder / DESCRIPTION).write_text('{"kind": "linear", "fields": {}}')
    with pytest.raises(ValueError, match=r"generator\.json lacks \['noise_seed', 'sha256'\]"):
        pretrained.load(str(folder))


def test_an_unknown_kind_is_refused(folder):
    describe(folder, kind="magic")
    with pytest.raises(ValueError, match=r"has kind 'magic', not one of \['first_stage', .*, 'stylegan2'\]"):
        pretrained.load(str(folder))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latent": 6}, "the fields .* do not make a generator: .*'latent'"),
        ([1], r"the fields \[1\] do not make a generator: expected an object"),
        (None, "the fields None do not make a generator"),
    ],
)
def test_fields_that_do_not_make_a_generator_are_refused(folder, fields, message):
    describe(folder, fields=fields)
    with pytest.raises(ValueError, match=message):
        pretrained.load(str(folder))


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    for name in ("nobody", str(tmp_path)):
        with pytest.raises(ValueError, match=r"no generator .*: give one of .* or a folder with"):
            pretrained.load(name)


def test_a_folder_can_be_moved(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "generator"
    shutil.copytree(folder, elsewhere)
    moved, here = pretrained.load(str(elsewhere)), pretrained.load(str(folder))
    assert moved.identity == here.identity
    assert (moved.folder, here.folder) == (elsewhere, folder)
    assert_equal(moved.params, here.params)


def test_the_identity_is_that_of_the_contents(folder):
    stated = json.loads((folder / DESCRIPTION).read_text())
    facts = {"weights": stated["sha256"], **{name: stated[name] for name in ("fields", "kind", "noise_seed")}}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    found = pretrained.load(str(folder)).identity
    assert found == hashlib.sha256(text.encode()).hexdigest()
    assert pretrained.load(folder, identity=found).identity == found
    describe(folder, source={"format": "said only"})
    assert pretrained.load(str(folder)).identity == found
    describe(folder, noise_seed=12)
    other = pretrained.load(str(folder)).identity
    assert other != found
    with pytest.raises(ValueError, match=rf"is another generator: found {other}, expected {found}"):
        pretrained.load(str(folder), identity=found)


@pytest.mark.parametrize("name", pretrained.shipped())
def test_what_is_known_already_is_loaded_alike(name):
    first = pretrained.load(name)
    again = pretrained.load(name, identity=first.identity)
    assert jax.tree.structure(again.params) == jax.tree.structure(first.params)
    jax.tree.map(np.testing.assert_array_equal, again.params, first.params)


def test_parameters_are_nested_as_they_were():
    tree = {
        "noise": (np.zeros((4, 4), np.float32), np.ones((8, 8), np.float32)),
        "a": {"b": {"c": np.ones(2)}},
    }
    found = pretrained.nested(by_path(tree))
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, found, tree)
