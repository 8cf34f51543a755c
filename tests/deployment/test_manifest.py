"""Every edit of a manifest is found, and a consistent forgery must still make sense."""

import copy
import json

import pytest

from latentfp.choices import Layout
from latentfp.deployment.codebook import CodeFacts, CodeKind
from latentfp.deployment.deployment import create, open_deployment
from latentfp.deployment.manifest import TamperedDeployment, _digest, axes_hash, read_manifest, to_json


def leaves(fields, at=()):
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from leaves(value, (*at, name))
        else:
            yield (*at, name)


def put(fields, at, value):
    changed = copy.deepcopy(fields)
    target = changed
    for name in at[:-1]:
        target = target[name]
    target[at[-1]] = value
    return changed


def forged(fields):
    """With a digest that fits: what someone who knows the format can write."""
    content = {name: value for name, value in fields.items() if name != "digest"}
    return {**content, "digest": _digest(content)}


def refusal(path, fields):
    path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    with pytest.raises(TamperedDeployment) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.fixture
def path(folder):
    return folder / "manifest.json"


@pytest.fixture
def fields(path):
    return json.loads(path.read_text())


def test_every_field_is_protected(path, fields):
    at_all = list(leaves(fields))
    assert len(at_all) == 22
    for at in at_all:
        value = fields
        for name in at:
            value = value[name]
        other = value + "0" if isinstance(value, str) else value + 1
        message = refusal(path, put(fields, at, other))
        assert ("found format 6" if at == ("format",) else "found contents with digest") in message
    path.write_text(json.dumps(forged(fields)))
    read_manifest(path)


def test_no_flipped_bit_goes_unseen(path):
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(TamperedDeployment):
            read_manifest(path)


def test_every_field_is_needed_and_no_other_known(path, fields):
    for name in fields:
        short = {key: value for key, value in fields.items() if key != name}
        assert "found " in refusal(path, short)
    assert "expected the fields" in refusal(path, forged({**fields, "more": 1}))
    assert "expected the fields" in refusal(path, forged(put(fields, ("generator", "more"), 1)))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (("format",), 6, "found format 6, latentfp 0.1.0 reads 5"),
        (("format",), [], "found format []"),
        (("format",), 0, "found format 0"),
        (("format",), "1", "found format '1'"),
        (("format",), 5.0, "found manifest.format = 5.0, expected int"),
        (("sigma",), -1.0, "got sigma -1.0, expected a positive finite number"),
        (("sigma",), float("nan"), "got sigma nan"),
        (("sigma",), float("inf"), "got sigma inf"),
        (("sigma",), 1, "found manifest.sigma = 1, expected float"),
        (("sigma",), "1.0", "found manifest.sigma = '1.0', expected float"),
        (("shift",), -1, "got shift -1"),
        (("shift",), 1.5, "found manifest.shift = 1.5, expected int"),
        (("bits",), 0, "got 0 bits"),
        (("bits",), None, "found manifest.bits = None, expected int"),
        (("min_distance",), 0, "got min_distance 0"),
        (("repeats",), 0, "got repeats 0, expected 1 or more that divide the 16 bits"),
        (("repeats",), 3, "got repeats 3"),
        (("repeats",), 16, "got 16 bits, expected at least 32"),
        (("repeats",), True, "found manifest.repeats = True, expected int"),
        (("layout",), "rows", "'rows' is not a valid Layout"),
        (("layout",), 1, "found manifest.layout = 1, expected str"),
        (("coding",), "ternary", "'ternary' is not a valid Coding"),
        (("generator", "identity"), "AB" * 32, "64 hexadecimal digits"),
        (("generator",), "linear", "found manifest.generator = 'linear', expected the fields"),
        (("versions",), {}, "found manifest.versions = []"),
        (("parts",), {"../../etc/passwd": "0" * 64}, "found manifest.parts = ['../../etc/passwd']"),
        (("parts",), {"/basis.safetensors": "0" * 64}, "found manifest.parts = ['/basis.safetensors']"),
        (("parts",), {}, "expected the fields ['basis.safetensors']"),
        (("parts",), {"basis.safetensors": "0" * 63}, "64 hexadecimal digits"),
    ],
)
def test_a_forged_manifest_must_make_sense(at, value, message, path, fields):
    assert message in refusal(path, forged(put(fields, at, value)))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", "\ufeff{}", "[" * 100_000, '"' + "a" * 100])
def test_what_is_not_a_manifest(text, path):
    refusal(path, text)


def test_an_old_digest_is_named_with_the_new(path, fields):
    changed = put(fields, ("sigma",), 2.0)
    message = refusal(path, changed)
    assert forged(changed)["digest"] in message
    assert fields["digest"] in message


def test_read_and_written_are_the_same(path):
    assert to_json(read_manifest(path)) == path.read_bytes()


def test_repeats_and_layout_are_kept(tmp_path, settings):
    repeated = {**settings, "repeats": 4, "layout": Layout.CHANNELS}
    create(tmp_path / "deployment", **repeated)
    path = tmp_path / "deployment/manifest.json"
    found = read_manifest(path)
    assert (found.repeats, found.layout) == (4, Layout.CHANNELS)
    assert to_json(found) == path.read_bytes()


def test_the_distance_of_repeated_codes_is_limited(tmp_path, settings):
    for distance, most in ((17, 16), (0, 16)):
        with pytest.raises(ValueError, match=f"min_distance {distance}, expected 1 … {most}"):
            create(tmp_path / "new", **{**settings, "repeats": 8, "min_distance": distance})


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"kind": "turbo"}, "'turbo' is not a valid CodeKind"),
        ({"kind": "bch"}, "expected a secret, a message shorter than the code"),  # has no secret
        ({"message": 1.0}, "found manifest.codes.message = 1.0, expected int"),
    ],
)
def test_forged_codes_must_make_sense(codes, message, path, fields):
    assert message in refusal(path, forged({**fields, "codes": {**fields["codes"], **codes}}))


@pytest.mark.parametrize(
    ("message", "polynomial"), [(7, ""), (7, "0x1d1"), (16, "1d1"), (1, "1d1"), (7, "1D1")]
)
def test_an_algebraic_code_must_be_whole(message, polynomial, path, fields):
    secret = {"rotation": "ab" * 32}
    right = {"kind": "bch", "message": 7, "polynomial": "1d1"}
    path.write_text(json.dumps(forged({**fields, **secret, "codes": right})))
    assert read_manifest(path).codes == CodeFacts(CodeKind.BCH, 7, "1d1")
    wrong = {"kind": "bch", "message": message, "polynomial": polynomial}
    assert "hexadecimal polynomial" in refusal(path, forged({**fields, **secret, "codes": wrong}))


def test_other_axes_than_those_of_the_fit_are_refused(folder, path, fields):
    """As when the numbers behind a rotation are no longer the same; a last digit more or less is."""
    path.write_text(json.dumps(forged({**fields, "axes": "ab" * 32})))
    with pytest.raises(
        TamperedDeployment, match=rf"the code's axes have the hash .*, expected {'ab' * 32} as at"
    ):
        open_deployment(folder)
    path.write_text(json.dumps(fields))
    space = open_deployment(folder).space
    assert axes_hash(space) == fields["axes"]
    nearly = space._replace(code_axes=space.code_axes + 1e-9)
    assert axes_hash(nearly) == fields["axes"]
    assert axes_hash(space._replace(code_axes=space.code_axes[::-1])) != fields["axes"]
