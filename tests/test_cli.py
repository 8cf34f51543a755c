"""The commands as a user types them: output, files and exit codes."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from linear_space import write_deployment, write_generator
from small_decoder import write_decoder

from latentfp import cli
from latentfp.deployment import decoders
from latentfp.deployment.deployment import open_deployment

FIELDS = [
    *("file", "sha256", "verdict", "user", "matched_bits", "bits", "p_value", "log10_lr", "support"),
    *("miss_p_value", "residual", "membership", "status", "stage", "passes", "iterations", "seconds"),
    *("damage", "ranked", "code_origin", "case_p_value", "pixels_sha256", "resampled_from", "orientation"),
    "left_out",
]
COMMANDS = [
    *("fit", "import", "export", "users add", "users list", "users revoke", "users reinstate"),
    *("users save", "users export", "audit verify", "audit head", "audit list"),
    *("adopt", "calibrate", "generate", "attribute", "verify", "trace", "plan", "bulk", "design", "demo"),
    *("train", "study", "bench"),
]
HELP = """
import sys, time
from latentfp import cli
sys.argv = ["latentfp", "--help"]
try:
    cli.run()
except SystemExit as end:
    assert end.code == 0, end.code
heavy = sorted({"jax", "tensorflow", "numpy", "flax"} & sys.modules.keys())
print(f"{heavy} {time.process_time()}", file=sys.stderr)
"""


@pytest.fixture
def latentfp(monkeypatch, capsys):
    """Run a command; its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["latentfp", *map(str, arguments)])
        code = 0
        try:
            cli.run()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return write_deployment(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def fresh(tmp_path):
    return write_deployment(tmp_path)


@pytest.fixture
def without_encoder(monkeypatch):
    """Linear generators that cannot be asked for their exact inverse."""
    from latentfp.generators import linear, pretrained

    kind = pretrained.KINDS["linear"]

    def make(**fields):
        return linear.make(**fields)._replace(encode=None)

    monkeypatch.setitem(pretrained.KINDS, "linear", kind._replace(make=make))


def is_one_line(text):
    return text.count("\n") == 1 and text.startswith("error: ")


def test_fit_makes_a_deployment_once(latentfp, tmp_path):
    generator = write_generator(tmp_path / "generator", latent_dim=24, size=8)
    request = ["fit", "--out", tmp_path / "deployment", "--generator", generator, "--shift", 8, "--bits", 16]
    code, out, err = latentfp(*request, "--samples", 1000)
    assert (code, out) == (2, "")
    assert "no strength is usual" in err
    assert is_one_line(err)
    request += ["--sigma", 1]
    code, out, _ = latentfp(*request, "--samples", 1000)
    assert code == 0
    assert "16 bits on axes 8 to 23" in out
    code, out, err = latentfp(*request)
    assert (code, out) == (2, "")
    assert "overwrites nothing" in err
    assert is_one_line(err)


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KiB, and how to make it larger; for root alone."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if os.geteuid() or subprocess.run([*mount, "size=64k", "tmpfs", path], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield path, lambda: subprocess.run([*mount, "remount,size=4m", "tmpfs", path], check=True)
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_is_named_and_what_was_begun_goes_on(latentfp, deployment, tmp_path, disk):
    path, enlarge = disk
    generator = write_generator(tmp_path / "generator", latent_dim=160, size=8)
    request = ["fit", "--generator", generator, "--sigma", 1, "--bits", 8, "--samples", 1000]
    code, out, err = latentfp(*request, "--out", path / "deployment")
    assert (code, out) == (2, "")
    assert f"No space left on device: '{path}/deployment'" in err
    assert is_one_line(err)
    assert list(path.iterdir()) == []
    copy = ["users", "export", "bob", "--deployment", deployment, "--out", path / "bob.copy"]
    (path / "ballast").write_bytes(b"0" * 2**15)
    for i in range(2**12):  # until not a byte is left
        try:
            (path / f"ballast{i}").write_bytes(b"0")
        except OSError:
            break
    code, out, err = latentfp(*copy)
    assert (code, out) == (2, "")
    assert f"No space left on device: '{path}/bob.copy'" in err
    (path / "ballast").unlink()
    images = ["generate", "--deployment", deployment, "--user", "bob", "--out", path / "images", "--seed", 5]
    code, out, err = latentfp(*images, "--count", 40)
    assert (code, out) == (2, "")
    assert re.search(rf"No space left on device: '{path}/images/bob-5-00\d\d.png'", err)
    enlarge()
    made = len(list((path / "images").glob("*.png")))
    assert 0 < made < 40
    code, out, err = latentfp(*images, "--count", 40)
    assert (code, out) == (0, f"40 images of bob in {path}/images, seed 5, {made} of them there already\n")


def test_users_are_added_once_and_listed_without_codes(latentfp, fresh):
    code, out, _ = latentfp("users", "add", "--deployment", fresh, "carol", "dan", "--note", "trial")
    assert (code, out) == (0, "added carol, dan\n")
    code, out, err = latentfp("users", "add", "--deployment", fresh, "erin", "carol")
    assert (code, out) == (2, "")
    assert "'carol'" in err
    assert is_one_line(err)
    code, out, _ = latentfp("users", "list", "--deployment", fresh)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[:2] for row in rows] == [[name, "active"] for name in ("alice", "bob", "carol", "dan")]
    assert rows[2][3] == "trial"


def test_generate_names_its_files_and_says_its_seed(latentfp, deployment, tmp_path):
    request = ["generate", "--deployment", deployment, "--user", "bob", "--count", 2, "--out", tmp_path]
    code, out, _ = latentfp(*request, "--seed", 5)
    assert (code, out) == (0, f"2 images of bob in {tmp_path}, seed 5\n")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["bob-5-0000.png", "bob-5-0001.png"]
    code, out, _ = latentfp(*request, "--format", "webp")
    drawn = out.split()[-1]
    assert code == 0
    assert (tmp_path / f"bob-{drawn}-0001.webp").is_file()


@pytest.mark.parametrize("user", ["eve", "bob"])
def test_generate_refuses_strangers_and_revoked_users(latentfp, fresh, tmp_path, user):
    from latentfp.choices import Status

    open_deployment(fresh).registry.set_status("bob", Status.REVOKED, note="")
    code, _, err = latentfp(
        "generate", "--deployment", fresh, "--user", user, "--count", 1, "--out", tmp_path / "out"
    )
    assert code == 2
    assert repr(user) in err
    assert is_one_line(err)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_encoder")
def test_attribute_answers_one_json_object_a_line(latentfp, deployment, tmp_path):
    latentfp("generate", "--deployment", deployment, "--user", "bob", "--count", 2, "--out", tmp_path)
    request = ["attribute", "--deployment", deployment, "--json", tmp_path]
    code, out, err = latentfp(*request)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert err.startswith(f"note: {deployment} has no decoder")
    assert all(list(row) == FIELDS for row in rows)
    assert [row["user"] for row in rows] == ["bob", "bob"]
    for row in rows:
        assert (row["verdict"], row["matched_bits"], row["bits"], row["status"]) == ("user", 32, 32, "ok")
        assert 0 < row["p_value"] < 1e-6
        assert (row["stage"], row["iterations"], row["damage"]) == ("multistart", 0, {})
        assert row["seconds"] > 0
        assert row["passes"] > 0
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    code, out, _ = latentfp(*request)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [row["verdict"] for row in rows] == ["user", "user", "unreadable"]
    assert [rows[2][name] for name in ("user", "matched_bits", "p_value", "stage", "damage")] == [None] * 5


def test_attribute_by_the_papers_search_in_words(latentfp, deployment, tmp_path):
    latentfp("generate", "--deployment", deployment, "--user", "alice", "--count", 1, "--out", tmp_path)
    code, out, _ = latentfp(
        *("attribute", "--deployment", deployment, tmp_path),
        *("--method", "reference", "--starts", 2, "--steps", 60),
    )
    assert code == 0
    (line,) = out.splitlines()
    assert line.startswith(str(tmp_path / "alice-"))
    assert "of 32 bits, p = " in line


FIT = "fit --generator {generator} --out {new} "
AT = " --deployment {deployment} "


@pytest.mark.parametrize(
    "command",
    [
        "attribute" + AT,
        "attribute" + AT + "--distance lpips image.png",
        "attribute" + AT + "--alpha 1e-30 {image}",
        "attribute" + AT + "--alpha nan {image}",
        "attribute" + AT + f"--seed {2**64} {{image}}",
        "attribute" + AT + "--until end {image}",
        "attribute" + AT + "--generator {image} {image}",
        "attribute --deployment nowhere image.png",
        "verify" + AT + "--user bob --alpha 2 {image}",
        "trace" + AT + "--alpha 0 {image}",
        "calibrate" + AT + "--images 5",
        "bulk" + AT + "--out {new} --part 0 {image}",
        "generate" + AT + "--user bob --count 0 --out {new}",
        "generate" + AT + f"--user bob --count {2**31} --out {{new}}",
        "generate" + AT + f"--user bob --count 1 --out {{new}} --seed {2**64}",
        "users add" + AT + "eve --seed -1",
        FIT + "--sigma 1 --samples 0",
        FIT + "--sigma 1 --samples -5",
        FIT + f"--sigma 1 --samples {10**30}",
        FIT + "--sigma 1 --bits 48",
        FIT + "--sigma 1 --bits -1",
        FIT + "--sigma 1 --shift -1",
        FIT + f"--sigma 1 --axes {10**30}",
        FIT + "--sigma 1 --repeats 0",
        FIT + f"--sigma 1 --seed {10**20}",
        FIT + "--sigma inf",
        "plan --users 0",
        f"plan --users {10**400}",
        "plan --users 5 --bits 1",
        "plan --users 5 --bits -3",
        "plan --users 5 --power 1",
        "design --out {new} --samples 0",
        "design --out {new} --target-accuracy 1 --generator {generator}",
        "design --out {new} --bits 0 --generator {generator}",
        "design --out {new} --bits 99 --generator {generator}",
        "export --generator {generator} --format nvidia --out {new}",
        "fly",
    ],
)
def test_wrong_usage_is_exit_code_2(latentfp, deployment, tmp_path, command):
    from latentfp.deployment import copies

    (image,) = copies.generate_files(
        deployment, user="bob", count=1, out=tmp_path, seed=1, suffix="png"
    ).paths
    generator = deployment.parent / "generator"
    places = {"deployment": deployment, "image": image, "generator": generator, "new": tmp_path / "new"}
    code, out, err = latentfp(*command.format(**places).split())
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A deployment with a decoder that reads hardly anything, and a file."""
    from latentfp.deployment import copies

    folder = tmp_path_factory.mktemp("read")
    deployment = write_deployment(folder, size=16, sigma=4.0)
    write_decoder(folder / "export", open_deployment(deployment))
    decoders.adopt(open_deployment(deployment), folder / "export")
    images = folder / "images"
    (clean,) = copies.generate_files(deployment, user="bob", count=1, out=images, seed=1, suffix="png").paths
    return deployment, clean


def rows_of(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("without_encoder")
class TestMethods:
    """On a generator without secrets, by a decoder that was not trained: descents do all the work."""

    def run(self, latentfp, read, *arguments):
        request = ["attribute", "--deployment", read[0], "--json", read[1], *arguments]
        code, out, err = latentfp(*request)
        assert code == 0
        assert "note:" not in err  # there is a decoder, or none is needed
        (row,) = rows_of(out)
        return row

    def test_decoder(self, latentfp, read):
        row = self.run(latentfp, read, "--method", "decoder")
        assert (row["verdict"], row["stage"], row["iterations"], row["passes"]) == (
            "inconclusive",
            "decoder",
            2,
            1,
        )
        assert 0 <= row["matched_bits"] <= row["bits"]

    def test_refine(self, latentfp, read):
        row = self.run(latentfp, read, "--method", "refine")
        assert (row["user"], row["stage"], row["iterations"]) == ("bob", "refine", 2)
        assert row["passes"] > 1 + 25  # the look's, and a step

    def test_multistart(self, latentfp, read):
        row = self.run(latentfp, read, "--method", "multistart", "--starts", 1, "--steps", 5)
        assert (row["user"], row["stage"], row["iterations"]) == ("bob", "multistart", 0)
        # 12 conjugate gradients a step
        assert (row["passes"] - 1) % (3 + 2 * 6) == 0
        assert row["passes"] <= 1 + 5 * (3 + 2 * 12)

    def test_reference(self, latentfp, read):
        row = self.run(latentfp, read, "--method", "reference", "--starts", 2, "--steps", 10)
        assert (row["stage"], row["iterations"], row["passes"]) == ("reference", 0, 2 * 2 * 10)

    def test_auto_climbs_until_a_user_is_named(self, latentfp, read):
        row = self.run(latentfp, read)
        assert (row["user"], row["stage"], row["iterations"], row["damage"]) == ("bob", "refine", 2, {})
        row = self.run(latentfp, read, "--until", "decoder")
        assert (row["verdict"], row["stage"]) == ("inconclusive", "decoder")

    def test_known_damage_is_believed(self, latentfp, read):
        """Too weak to change the comparison; what stronger ones do: tests/attribution/test_observation.py."""
        row = self.run(latentfp, read, "--damage", "quality=96", "--until", "refine")
        assert (row["user"], row["stage"], row["damage"]) == ("bob", "refine", {"quality": 96})

    def test_a_decoder_from_elsewhere(self, latentfp, read, tmp_path):
        folder = write_decoder(tmp_path / "other", open_deployment(read[0]), iterations=3)
        row = self.run(latentfp, read, "--method", "decoder", "--decoder", folder)
        assert row["iterations"] == 3


def test_the_encoder_of_a_generator_comes_first(latentfp, read):
    for more in (["--method", "encoder"], ["--until", "encoder"]):
        code, out, err = latentfp("attribute", "--deployment", read[0], "--json", read[1], *more)
        (row,) = rows_of(out)
        assert code == 0
        assert "note:" not in err
        assert (row["user"], row["stage"], row["iterations"], row["passes"]) == ("bob", "encoder", 1, 1)


def test_by_default_a_descent_confirms_what_the_encoder_reads(latentfp, read):
    code, out, _ = latentfp("attribute", "--deployment", read[0], "--json", read[1])
    (row,) = rows_of(out)
    assert (code, row["user"], row["stage"]) == (0, "bob", "refine")
    assert row["passes"] > 25  # those of at least one step


@pytest.mark.usefixtures("without_encoder")
def test_the_method_decoder_needs_one(latentfp, deployment, tmp_path):
    (tmp_path / "image.png").write_bytes(b"")
    code, out, err = latentfp(
        "attribute", "--deployment", deployment, "--method", "decoder", tmp_path / "image.png"
    )
    assert (code, out) == (2, "")
    assert "no decoder" in err
    assert "`latentfp adopt`" in err
    assert is_one_line(err)


def test_adopt_gives_a_deployment_its_decoder(latentfp, tmp_path):
    deployment = write_deployment(tmp_path, size=16)
    export = write_decoder(tmp_path / "export", open_deployment(deployment))
    code, out, _ = latentfp("adopt", "--deployment", deployment, export)
    assert code == 0
    tried, adopted = out.splitlines()
    assert tried.endswith("100.0 % after a descent, which explains 16 of 16 undamaged images")
    assert adopted.startswith(f"{deployment}: decoder ")
    assert adopted.endswith(", 2 iterations")
    assert (deployment / "decoder/decoder.json").is_file()
    write_decoder(export, open_deployment(deployment), sigma=3.0)
    code, out, err = latentfp("adopt", "--deployment", deployment, export)
    assert (code, out) == (2, "")
    assert "sigma 3.0 instead of 1.0" in err
    assert is_one_line(err)


def test_adopt_refuses_a_decoder_that_misleads(latentfp, tmp_path, monkeypatch):
    from latentfp.deployment import calibration

    deployment = write_deployment(tmp_path, size=16)
    export = write_decoder(tmp_path / "export", open_deployment(deployment))
    monkeypatch.setattr(
        calibration, "validate", lambda *_: calibration.Validation(16, 0.5, 0.55, explained=7)
    )
    code, out, err = latentfp("adopt", "--deployment", deployment, export)
    assert (code, out) == (2, "")
    assert "misleads: 50.0 % of bits read right, 55.0 % after a descent, which explains 7 of 16" in err
    assert is_one_line(err)
    assert not (deployment / "decoder").exists()
    code, out, _ = latentfp("adopt", "--untested", "--deployment", deployment, export)
    assert code == 0
    assert out.startswith(f"{deployment}: decoder ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--damage", "quality"], "--damage quality: expected NAME=STRENGTH"),
        (["--damage", "quality=half"], "--damage quality=half: expected NAME=STRENGTH"),
        (["--damage", "acid=1"], "expected degrees -180 … 180, scale"),
        (["--damage", "blur=nan"], "damage blur=nan: expected"),
        (["--damage", "quality=500"], "damage quality=500: expected"),
        (["--damage", "blur=1", "--damage", "blur=2"], "a name is given twice"),
        (["--starts", "2"], "--starts: only --method multistart and reference take them"),
        (["--method", "refine", "--steps", "2"], "--steps: only --method multistart and reference"),
        (["--decoder", "nowhere"], "nowhere holds no decoder"),
        (["--alpha", "1e-30"], "alpha 1e-30 cannot be met"),
    ],
)
def test_wrong_options_of_attribute_are_explained(latentfp, deployment, tmp_path, arguments, told):
    (tmp_path / "image.png").write_bytes(b"")
    code, out, err = latentfp("attribute", "--deployment", deployment, tmp_path / "image.png", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert is_one_line(err.removeprefix(f"note: {deployment} has no decoder").split("\n", 1)[-1] or err)


@pytest.mark.parametrize("part", ["manifest.json", "basis.safetensors", "users.sqlite"])
def test_a_tampered_deployment_is_exit_code_2(latentfp, fresh, part):
    path = fresh / part
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"alice", b"Alice").replace(b"1", b"2"))
    request = ("--user", "alice", "--count", 1, "--out", fresh / "images")
    code, out, err = latentfp("generate", "--deployment", fresh, *request)
    assert (code, out) == (2, "")
    assert part in err
    assert is_one_line(err)


@pytest.mark.parametrize(("own", "used"), [("", "1"), ("4", "4")])
def test_a_command_gives_blas_one_thread_unless_told_otherwise(latentfp, deployment, monkeypatch, own, used):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", own)
    if not own:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    assert latentfp("users", "list", "--deployment", deployment)[0] == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == used


def test_the_compiler_is_not_heard(latentfp, deployment, monkeypatch):
    """At its usual level it writes of slow compilations and of devices to the user's standard error."""
    for own, used in ((None, "3"), ("0", "0")):
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        if own is not None:
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", own)
        assert latentfp("users", "list", "--deployment", deployment)[0] == 0
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == used


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(latentfp, command):
    code, out, _ = latentfp(*command.split(), "--help")
    assert code == 0
    assert f"Example: latentfp {command} " in " ".join(out.split())


def test_every_command_is_in_the_list_above():
    typed = [
        command.name or getattr(command.callback, "__name__", "") for command in cli.app.registered_commands
    ]
    below = {"users": cli.users, "audit": cli.audit}
    typed += [f"{group} {it.name}" for group, app in below.items() for it in app.registered_commands]
    assert sorted(COMMANDS) == sorted(typed)


def test_help_is_quick_and_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    heavy, seconds = done.stderr.rsplit(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 3  # of processor time
    assert "attribute" in done.stdout


def test_users_from_a_file_and_back(latentfp, fresh, tmp_path):
    table = tmp_path / "users.csv"
    table.write_text('name,note,code\ncarol,"trial, spring",00ff00ff00000000\n007,,0f0f0f0f00000000\n')
    assert latentfp("users", "add", "--deployment", fresh, "--file", table)[:2] == (0, "added carol, 007\n")
    code, out, _ = latentfp("users", "list", "--deployment", fresh, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["id"], row["name"], row["note"]) for row in rows[2:]] == [
        (3, "carol", "trial, spring"),
        (4, "007", ""),
    ]
    for suffix in ("csv", "parquet"):
        out = tmp_path / f"saved.{suffix}"
        request = ["users", "save", "--deployment", fresh, "--out", out]
        assert latentfp(*request)[:2] == (0, f"{out}: 4 users\n")
        code, _, err = latentfp(*request)
        assert code == 2
        assert is_one_line(err)
    assert "0f0f" not in (tmp_path / "saved.csv").read_text()
    latentfp("users", "save", "--deployment", fresh, "--out", tmp_path / "codes.csv", "--with-codes")
    assert "0f0f0f0f00000000" in (tmp_path / "codes.csv").read_text()


def test_users_come_by_name_or_by_file(latentfp, fresh, tmp_path):
    for more in ([], ["carol", "--file", tmp_path / "users.csv"]):
        code, out, err = latentfp("users", "add", "--deployment", fresh, *more)
        assert (code, out) == (2, "")
        assert "names or --file" in err
        assert is_one_line(err)
    (tmp_path / "users.csv").write_bytes(b"\xff\xfen\x00")
    wrong = (
        ["carol", "--seed", -1],
        ["carol", "--seed", 2**64],
        ["x" * 65],
        ["--file", tmp_path / "users.csv"],
    )
    for more in wrong:
        code, out, err = latentfp("users", "add", "--deployment", fresh, *more)
        assert (code, out) == (2, "")
        assert err
        assert "Traceback" not in err


def test_users_are_revoked_reinstated_and_logged(latentfp, fresh, tmp_path):
    at = ["--deployment", fresh]
    assert latentfp("users", "revoke", "bob", *at, "--note", "left")[:2] == (0, "revoked bob\n")
    assert "bob\trevoked" in latentfp("users", "list", *at)[1]
    assert latentfp("users", "reinstate", "bob", *at)[:2] == (0, "reinstated bob\n")
    assert latentfp("users", "list", *at)[1].splitlines()[1].endswith("\tleft"), "notes are kept"
    assert latentfp("users", "revoke", "eve", *at)[0] == 2
    out = tmp_path / "images"
    assert latentfp("generate", *at, "--user", "bob", "--count", 1, "--out", out, "--seed", 5)[0] == 0
    assert latentfp("users", "export", "bob", *at, "--out", tmp_path / "bob.copy")[0] == 0
    code, out, _ = latentfp("audit", "list", *at, "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [entry["action"] for entry in entries] == ["add", "revoke", "reinstate", "generate", "export"]
    assert entries[1]["subject"] == {"user": 2, "name": "bob", "note": "left"}
    assert entries[3]["subject"]["seed"] == 5
    assert len(latentfp("audit", "list", *at)[1].splitlines()) == 5
    assert latentfp("audit", "verify", *at)[:2] == (0, f"5 entries, head {entries[4]['hash']}\n")
    with closing(sqlite3.connect(fresh / "users.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER audit_is_not_edited")
        connection.execute("UPDATE audit SET subject = '{}' WHERE number = 4")
    code, out, err = latentfp("audit", "verify", *at)
    assert (code, out) == (2, "")
    assert "found audit entry 4 broken" in err
    assert is_one_line(err)
