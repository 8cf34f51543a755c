"""Every edit of a manifest is found, and a consistent forgery must still make sense."""

import copy
import json

import pytest

from latentfp.deployment.manifest import TamperedDeployment, _digest, read_manifest, to_json


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
    assert len(at_all) == 16
    for at in at_all:
        value = fields
        for name in at:
            value = value[name]
        other = value + "0" if isinstance(value, str) else value + 1
        message = refusal(path, put(fields, at, other))
        assert ("found format 2" if at == ("format",) else "found contents with digest") in message
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
        (("format",), 2, "found format 2, latentfp 0.1.0 reads 1"),
        (("format",), 0, "found format 0"),
        (("format",), "1", "found format '1'"),
        (("format",), True, "found manifest.format = True, expected int"),
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
        (("coding",), "ternary", "'ternary' is not a valid Coding"),
        (("generator", "sha256"), "AB" * 32, "64 hexadecimal digits"),
        (("generator", "noise_seed"), 2**32, "got noise_seed 4294967296"),
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
