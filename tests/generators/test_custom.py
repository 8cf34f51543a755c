"""Generators of one's own: where they come from, what identifies them, and what is refused."""

import hashlib
import itertools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.generators import custom, pretrained
from latentfp.generators.generator import Generator

D, SHAPE = 5, (4, 6, 3)
PARAMS = {
    "matrix": np.random.default_rng(0).normal(0, 0.2, (D, 72)).astype(np.float32),
    "bias": np.float32(0.1),
}


def sample(_params, key, n):
    return jax.random.normal(key, (n, D))


def synthesize(params, w):
    return jnp.tanh(jnp.dot(w, params["matrix"]) + params["bias"]).reshape(-1, *SHAPE)


OWN = Generator("mine", D, SHAPE, sample, synthesize)


def test_a_pair_opens_with_its_identity():
    loaded = pretrained.load((OWN, PARAMS))
    assert (loaded.generator, loaded.name, loaded.folder) == (OWN, "mine", None)
    assert loaded.identity == custom.identity(OWN, PARAMS)
    assert pretrained.load(loaded, identity=loaded.identity) is loaded
    with pytest.raises(ValueError, match=rf"mine is another generator: found {loaded.identity}, expected 00"):
        pretrained.load((OWN, PARAMS), identity="00" * 32)


def test_the_identity_is_that_of_the_page():
    """The page of custom.py in NumPy, in float64."""
    draw = np.random.Philox(key=0)
    words = draw.random_raw(2 * D).reshape(2, D)
    w = np.sqrt(12) * (words / 2**64 - 0.5)
    x = np.tanh(w @ PARAMS["matrix"].astype(np.float64) + 0.1).ravel()
    signs = np.array([[int(v) >> i & 1 for v in draw.random_raw(3) for i in range(64)] for _ in range(16)])
    probe = np.round(64 * ((2 * signs[:, : x.size] - 1) @ x) / np.sqrt(x.size))
    leaves = hashlib.sha256()
    leaves.update(b"bias <f4 \n" + PARAMS["bias"].tobytes())
    leaves.update(b"matrix <f4 5,72\n" + PARAMS["matrix"].tobytes())
    facts = {
        "channels": 1,
        "image_shape": SHAPE,
        "latent_dim": D,
        "parameters": leaves.hexdigest(),
        "probe": [int(number) for number in probe],
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert custom.identity(OWN, PARAMS, expected=expected) == expected
    assert np.abs(probe).max() > 5  # it sees the images


def wider(params, w):
    return 1.1 * synthesize(params, w)


def mirrored(params, w):
    return synthesize(params, w)[:, :, ::-1]


def other_channels(params, w):
    return synthesize(params, w)[..., ::-1]


def test_whatever_differs_gives_another_identity():
    changed = {**PARAMS, "matrix": PARAMS["matrix"].copy()}
    changed["matrix"][0, 0] = np.nextafter(changed["matrix"][0, 0], np.float32(9))
    variants = [
        (OWN, PARAMS),
        (OWN, changed),
        (OWN, {**PARAMS, "matrix": PARAMS["matrix"].astype(np.float16)}),
        (OWN, {**PARAMS, "unused": np.zeros(1)}),
        (OWN._replace(channels=5), PARAMS),
        *((OWN._replace(synthesize=other), PARAMS) for other in (wider, mirrored, other_channels)),
    ]
    found = [custom.identity(*variant) for variant in variants]
    assert len(set(found)) == len(found)
    renamed = OWN._replace(name="other", sample=lambda params, key, n: 2 * sample(params, key, n))
    assert custom.identity(renamed, PARAMS) == found[0]  # neither the name nor the prior are in the images


def test_the_rounding_of_another_machine_is_the_same_generator(monkeypatch):
    """Numbers at an edge of their rounding fall on either side; the expected one of both is found."""
    numbers = np.array([3.0, 2.49, 2.51, -1.495, -7.2])
    found = []
    for shift in (0, 0.015, -0.015):
        monkeypatch.setattr(custom, "_probe", lambda *_, s=shift: numbers + s)
        found.append(custom.identity(OWN, PARAMS))
    assert len(set(found)) == 3
    for shift, expected in itertools.product((0, 0.015, -0.015), found):
        monkeypatch.setattr(custom, "_probe", lambda *_, s=shift: numbers + s)
        assert custom.identity(OWN, PARAMS, expected=expected) == expected
    monkeypatch.setattr(custom, "_probe", lambda *_: numbers + 0.1)
    assert custom.identity(OWN, PARAMS, expected=found[0]) != found[0]


def host_only(params, w):
    return jnp.asarray(np.tanh(np.asarray(w) @ params["matrix"])).reshape(-1, *SHAPE)


calls = itertools.count()


def restless(params, w):
    noise = jax.pure_callback(lambda: np.float32(next(calls)), jax.ShapeDtypeStruct((), jnp.float32))
    return synthesize(params, w) + 0.01 * noise


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p, w: synthesize(p, w)[:, :2], r"mine: synthesize gives float32 \(2, 2, 6, 3\) for latents"),
        (lambda p, w: jnp.astype(synthesize(p, w), jnp.uint8), r"synthesize gives uint8 \(2, 4, 6, 3\)"),
        (lambda p, w: synthesize(p, w) + jnp.nan, "mine: synthesize gives NaN or infinite pixels"),
        (host_only, "mine: synthesize cannot be compiled by JAX: "),
        (restless, "mine: synthesize gives other images when asked again"),
    ],
)
def test_functions_that_are_not_as_promised_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        pretrained.load((OWN._replace(synthesize=function), PARAMS))


def test_parameters_are_numbers():
    with pytest.raises(ValueError, match=r"the parameter 'name' is <U4, expected numbers"):
        custom.identity(OWN, {**PARAMS, "name": "mine"})


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module in the current folder, which is not on Python's path."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    yield write
    custom.imported.cache_clear()


def test_a_module_of_the_current_folder_is_imported_when_it_is_asked_for(module):
    name = module("own_one", "from test_custom import OWN, PARAMS\ndef make():\n    return OWN, PARAMS\n")
    path = list(sys.path)
    loaded = pretrained.load(f"{name}:make")
    assert (loaded.name, loaded.identity) == ("own_one:make", custom.identity(OWN, PARAMS))
    assert pretrained.load(f"{name}:make").generator is loaded.generator
    assert sys.path == path


def test_what_a_file_says_is_never_imported(module):
    name = module("own_two", "raise SystemExit('imported')\n")
    with pytest.raises(ValueError, match="no generator 'own_two:make'"):
        pretrained.load_stored(f"{name}:make")
    assert name not in sys.modules


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        (
            "",
            "absent_module:make",
            r"absent_module:make cannot be imported \(No module named 'absent_module'",
        ),
        ("import absent_part\n", "own_three:make", r"cannot be imported \(No module named 'absent_part'\)"),
        ("", "own_three:make", "own_three:make: found no function make in own_three"),
        ("make = 3\n", "own_three:make", "own_three:make: found no function make in own_three"),
        ("def make(size): ...\n", "own_three:make", r"own_three:make needs arguments \(missing a required"),
        ("def make(): ...\n", "own_three:make", r"own_three:make\(\) gives a NoneType, expected the pair"),
        ("def make(): return 1, 2, 3\n", "own_three:make", r"gives a tuple of 3, expected the pair"),
        ("def make(): return 1, 2\n", "own_three:make", r"gives a tuple of 2, expected the pair"),
    ],
)
def test_entries_that_give_no_generator_are_refused(module, monkeypatch, text, entry, message):
    module("own_three", text)
    monkeypatch.delitem(sys.modules, "own_three", raising=False)
    with pytest.raises(ValueError, match=message):
        pretrained.load(entry)
