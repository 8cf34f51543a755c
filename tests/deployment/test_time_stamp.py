"""Time stamps of an authority that openssl plays."""

import datetime
import shutil
import subprocess

import pytest
from linear_space import write_deployment

from latentfp import cli
from latentfp.deployment import signature, time_stamp

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to play an authority")
SETTINGS = """
[ req ]
distinguished_name = name
prompt = no
[ name ]
CN = Authority
[ root ]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[ stamps ]
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ tsa ]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""
ROOT = (
    "req -x509 -newkey rsa:2048 -nodes -keyout {0}.key -out {0}.pem -subj /CN=Root -extensions root "
    "-config conf"
)
COMMANDS = (
    ROOT.format("root"),
    ROOT.format("other"),
    "req -newkey rsa:2048 -nodes -keyout signer.key -out signer.csr -config conf",
    "x509 -req -in signer.csr -CA root.pem -CAkey root.key -CAcreateserial -out signer.pem -extfile conf "
    "-extensions stamps",
    "ts -query -data head.json -sha256 -cert -out head.tsq",
    "ts -reply -queryfile head.tsq -config conf -section tsa -inkey signer.key -signer signer.pem "
    "-out head.tsr",
)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """A deployment with a signed head, an authority's answer for that, and two roots."""
    folder = tmp_path_factory.mktemp("stamped")
    deployment, key = write_deployment(folder), folder / "sign.pem"
    signature.create(key)
    made = ["audit", "head", "--deployment", deployment, "--out", folder / "head.json", "--key", key]
    cli.app([str(it) for it in made], standalone_mode=False)
    (folder / "conf").write_text(SETTINGS)
    (folder / "serial").write_text("01")
    for command in COMMANDS:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return deployment, folder


def test_a_stamp_says_when(stamped, capsys):
    deployment, folder = stamped
    when = time_stamp.verify(folder / "head.json", folder / "head.tsr", folder / "root.pem")
    assert abs(datetime.datetime.now(datetime.UTC) - when) < datetime.timedelta(hours=1)
    command = ["audit", "verify", "--deployment", deployment, "--head", folder / "head.json"]
    given = [*command, "--time-stamp", folder / "head.tsr", "--authority", folder / "root.pem"]
    cli.app([str(it) for it in given], standalone_mode=False)
    assert f"stamped {when:%Y-%m-%d}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="need each other"):
        cli.app([str(it) for it in given[:-2]], standalone_mode=False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [("head.json", "does not prove when"), ("head.tsr", "is damaged"), ("root.pem", "is damaged")],
)
def test_what_proves_nothing_is_refused(stamped, tmp_path, changed, told):
    _, folder = stamped
    names = ["head.json", "head.tsr", "root.pem"]
    for name in names:
        shutil.copy(folder / name, tmp_path)
    (tmp_path / changed).write_bytes((tmp_path / changed).read_bytes()[:-9])
    with pytest.raises(time_stamp.BadTimeStamp, match=told):
        time_stamp.verify(*(tmp_path / name for name in names))


def test_another_authority_is_refused(stamped):
    _, folder = stamped
    with pytest.raises(time_stamp.BadTimeStamp, match="does not prove when"):
        time_stamp.verify(folder / "head.json", folder / "head.tsr", folder / "other.pem")
