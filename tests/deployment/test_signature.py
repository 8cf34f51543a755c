"""Keys and signed records: what is accepted, and that no change is."""

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from latentfp.deployment.signature import PRIME, BadSignature, create, read_private, read_public, sign, verify

RECORD = {"files": [{"name": "ä.png", "p": 1e-17, "bits": 64}], "user": None, "b": True}


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys" / "sign.pem", create(tmp_path / "keys" / "sign.pem")


def test_a_signed_record_is_verified(keys):
    private, public = keys
    signed = sign(RECORD, read_private(private))
    signer = {"algorithm": "Ed25519", "public_key": read_public(public)}
    assert {name: value for name, value in signed.items() if name != "signature"} == RECORD | {
        "signer": signer
    }
    assert verify(signed) == read_public(public)
    assert verify(dict(reversed(signed.items())), public=read_public(public)) == read_public(public)


@pytest.mark.parametrize(
    "change",
    [
        {"user": "bob"},
        {"b": 1.5},
        {"new": 0},
        {"files": [{"name": "ä.png", "p": 1.0000000000000002e-17, "bits": 64}]},
        {"files": []},
    ],
)
def test_every_change_is_found(keys, change):
    signed = sign(RECORD, read_private(keys[0]))
    with pytest.raises(BadSignature, match="not what was signed"):
        verify({**signed, **change})


def test_another_signer_is_found(keys):
    signed = sign(RECORD, Ed25519PrivateKey.generate())
    with pytest.raises(BadSignature, match="another key"):
        verify(signed, public=read_public(keys[1]))
    borrowed = {**signed["signer"], "public_key": read_public(keys[1])}
    with pytest.raises(BadSignature, match="not what was signed"):
        verify({**signed, "signer": borrowed})


@pytest.mark.parametrize(
    "signer",
    [{"algorithm": "none"}, {"algorithm": "Ed448"}, {"algorithm": None}, {"more": 1}],
)
def test_another_algorithm_is_refused(keys, signer):
    signed = sign(RECORD, read_private(keys[0]))
    with pytest.raises(BadSignature, match="no Ed25519 signature"):
        verify({**signed, "signer": signed["signer"] | signer})


@pytest.mark.parametrize(
    "y",
    [
        0,
        1,
        PRIME - 1,
        PRIME,
        PRIME + 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    ],
)
@pytest.mark.parametrize("sign_of_x", [0, 1])
def test_keys_of_small_order_are_refused(y, sign_of_x):
    """With these one signature, of zero and any multiple, fits any message."""
    key = (y | sign_of_x << 255).to_bytes(32, "little").hex()
    forged = {"signer": {"algorithm": "Ed25519", "public_key": key}, "signature": key + "00" * 32}
    with pytest.raises(BadSignature, match="no Ed25519 signature"):
        verify({**RECORD, **forged})


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        *(("signature", value) for value in (None, 3, {}, "zz", "00" * 63)),
        *(("signer", value) for value in (None, 3, {}, {"algorithm": "Ed25519", "public_key": "00" * 31})),
    ],
)
def test_records_without_a_signature_are_refused(keys, name, broken):
    signed = sign(RECORD, read_private(keys[0]))
    with pytest.raises(BadSignature, match=r"no Ed25519 signature|not what was signed"):
        verify({**signed, name: broken})
    del signed[name]
    with pytest.raises(BadSignature, match="no Ed25519 signature"):
        verify(signed)


def test_numbers_that_json_lacks_are_not_signed(keys):
    with pytest.raises(ValueError, match="JSON"):
        sign({"p": float("nan")}, read_private(keys[0]))


def test_a_private_key_is_the_owners_alone(keys):
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create(private)
    private.chmod(0o640)
    with pytest.raises(ValueError, match="mode 0640"):
        read_private(private)
    with pytest.raises(ValueError, match="no public Ed25519"):
        read_public(private)
    public.chmod(0o600)
    with pytest.raises(ValueError, match="no private Ed25519"):
        read_private(public)


def test_nothing_is_written_where_a_public_key_lies(tmp_path):
    (tmp_path / "sign.pem.pub").write_text("someone's")
    with pytest.raises(FileExistsError):
        create(tmp_path / "sign.pem")
    assert not (tmp_path / "sign.pem").exists()
