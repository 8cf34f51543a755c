"""A secret turns the axes of a code, stays out of the deployment, and is never shown."""

import hashlib
import math
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from linear_space import write_generator
from small_decoder import write_decoder

from latentfp import cli
from latentfp.deployment import decoders, fitting, secret
from latentfp.deployment.deployment import open_deployment
from latentfp.fingerprint.basis import split

FIT = {"sigma": 1.0, "shift": 4, "bits": 16, "samples": 1000}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("secret") / "generator", latent_dim=24, size=16)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys" / "secret"


@pytest.fixture
def fitted(tmp_path, generator, file):
    return fitting.fit(tmp_path / "deployment", generator=generator, secret=file, **FIT)


def test_the_axes_of_the_code_are_turned_within_their_span(fitted):
    plain = split(fitted.basis, shift=4, bits=16)
    turned, before = (np.asarray(space.code_axes, np.float64) for space in (fitted.space, plain))
    rotation = turned @ before.T
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(16), atol=1e-5)
    np.testing.assert_allclose(rotation @ before, turned, atol=1e-6)
    assert np.abs(rotation).max() < 0.98
    variances = np.diag(rotation @ np.diag(np.square(np.asarray(plain.code_stds, np.float64))) @ rotation.T)
    np.testing.assert_allclose(np.square(fitted.space.code_stds), variances, rtol=1e-5)
    for name in ("mean", "content_axes", "content_stds"):
        np.testing.assert_array_equal(getattr(fitted.space, name), getattr(plain, name))


def test_rotations_are_even_over_all():
    """An entry has mean 0, its square 1/k; without the signs of R the diagonal would lean to a side."""
    one = secret.Secret(bytes(32))
    axes = np.stack([secret.rotation(one.derive("rotation", str(i)), 4) for i in range(2000)])
    np.testing.assert_allclose(axes.mean(axis=0), 0, atol=5 * 0.5 / np.sqrt(2000))
    np.testing.assert_allclose(np.square(axes).mean(axis=0), 0.25, atol=0.03)


def test_a_rotation_is_that_of_the_definition():
    """Number by number, and Gram and Schmidt in place of a library's QR."""
    k, key = 6, bytes(range(32))
    octets = hashlib.shake_256(key).digest(8 * k * k)
    words = [int.from_bytes(octets[8 * i : 8 * i + 8], "little") for i in range(k * k)]
    u = [((word >> 12) + 0.5) / 2**52 for word in words]
    normal = []
    for one, two in zip(u[::2], u[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(one))
        normal += [radius * math.cos(2 * math.pi * two), radius * math.sin(2 * math.pi * two)]
    columns = []
    for j in range(k):
        column = np.array(normal[j::k], np.longdouble)
        for other in 2 * columns:
            column = column - (other @ column) * other
        columns.append(column / np.sqrt(column @ column))
    np.testing.assert_allclose(secret.rotation(key, k), np.stack(columns, axis=1).astype(float), atol=1e-13)


def test_rotations_stay_those_of_this_version():
    three = [
        [-0.15151332, 0.63050122, -0.7612568],
        [0.25585648, 0.7689166, 0.58592211],
        [0.9547676, -0.10599748, -0.27781893],
    ]
    np.testing.assert_allclose(secret.rotation(bytes(32), 3), three, atol=1e-8)
    corner = secret.rotation(bytes(range(32)), 64)[-1, -3:]
    np.testing.assert_allclose(corner, [-0.04791711719, 0.05355041092, -0.01227782092], atol=1e-11)


def test_the_same_secret_gives_the_same_axes_and_another_none(fitted, file, tmp_path, monkeypatch):
    again = open_deployment(fitted.path, secret=secret.read(file))
    np.testing.assert_array_equal(again.space.code_axes, fitted.space.code_axes)
    with pytest.raises(ValueError, match="was made with another secret: give the one of its fit"):
        open_deployment(fitted.path, secret=secret.create(tmp_path / "other"))
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="needs its secret: set LATENTFP_SECRET to the name of the"):
        open_deployment(fitted.path)
    monkeypatch.setenv(secret.VARIABLE, str(file))
    np.testing.assert_array_equal(open_deployment(fitted.path).space.code_axes, fitted.space.code_axes)


def test_two_deployments_of_one_secret_are_turned_differently(fitted, generator, file, tmp_path):
    other = fitting.fit(tmp_path / "second", generator=generator, secret=file, **FIT)
    np.testing.assert_array_equal(other.basis.axes, fitted.basis.axes)
    assert np.abs(np.asarray(other.space.code_axes - fitted.space.code_axes)).max() > 0.1
    assert other.manifest.rotation != fitted.manifest.rotation


def test_the_secret_is_in_its_file_alone(fitted, file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", text)
    for part in filter(Path.is_file, fitted.path.rglob("*")):
        content = part.read_bytes()
        assert text.encode() not in content
        assert bytes.fromhex(text) not in content
    shown = repr(secret.read(file)) + str(secret.read(file))
    assert text not in shown
    assert bytes.fromhex(text).hex() not in shown


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_secret_that_others_can_read_is_refused(file, mode):
    secret.create(file)
    file.chmod(mode)
    with pytest.raises(ValueError, match=f"has mode {mode:04o}, so others can read the secret: chmod 600"):
        secret.read(file)


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32, "00" * 33, "\xff"])
def test_what_is_no_secret_is_refused(tmp_path, text):
    path = tmp_path / "secret"
    path.write_bytes(text.encode("latin1"))
    path.chmod(0o600)
    with pytest.raises(ValueError, match="is no secret: expected 64 hexadecimal digits"):
        secret.read(path)


def test_a_secret_is_never_overwritten_or_kept_in_the_deployment(generator, tmp_path, file):
    secret.create(file)
    before = file.read_text()
    with pytest.raises(FileExistsError):
        secret.create(file)
    fitting.fit(tmp_path / "deployment", generator=generator, secret=file, **FIT)
    assert file.read_text() == before
    inside = tmp_path / "second" / "secret"
    with pytest.raises(ValueError, match="lies in the deployment, which the secret protects"):
        fitting.fit(tmp_path / "second", generator=generator, secret=inside, **FIT)
    assert not (tmp_path / "second").exists()


def test_a_decoder_of_other_axes_is_refused(fitted, generator, tmp_path, monkeypatch, file):
    plain = fitting.fit(tmp_path / "plain", generator=generator, **FIT)
    monkeypatch.setenv(secret.VARIABLE, str(file))
    with pytest.raises(ValueError, match=r"was trained for another deployment: .*rotation"):
        decoders.load(write_decoder(tmp_path / "decoder", plain), fitted)
    own = write_decoder(tmp_path / "own", fitted)
    assert decoders.load(own, fitted).iterations == 2
    with pytest.raises(ValueError, match=r"was trained for another deployment: .*rotation"):
        decoders.load(own, plain)


def test_on_the_command_line(generator, tmp_path, file, monkeypatch, capsys):
    path = str(tmp_path / "deployment")
    request = ["fit", "--out", path, "--generator", generator, "--samples", "1000", "--sigma", "1"]
    cli.app([*request, "--bits", "16", "--shift", "4", "--secret", str(file)], standalone_mode=False)
    monkeypatch.setenv(secret.VARIABLE, str(file))
    cli.app(["users", "add", "--deployment", path, "alice"], standalone_mode=False)
    images = str(tmp_path / "images")
    made = ["generate", "--deployment", path, "--user", "alice", "--count", "2", "--out", images]
    cli.app(made, standalone_mode=False)
    asked = ["attribute", "--deployment", path, "--method", "encoder", "--alpha", "0.001", images]
    cli.app(asked, standalone_mode=False)
    told = capsys.readouterr()
    assert told.out.count(": alice (") == 2
    assert file.read_text().strip() not in told.out + told.err
