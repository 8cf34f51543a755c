"""A case from files to a page and a signed record, and what its check finds."""

import json
import stat
from html.parser import HTMLParser

import numpy as np
import pytest
from linear_space import write_deployment

from latentfp import cli
from latentfp.choices import Method
from latentfp.data.files import file_hash, read_image, write_image
from latentfp.deployment import signature
from latentfp.deployment.attribute import Request, attribute, pixel_hash
from latentfp.deployment.deployment import open_deployment, open_registry
from latentfp.fingerprint.codes import pack
from latentfp.report.case import record_of, write_case
from latentfp.report.check import check


def run(*arguments):
    """The exit code of a command."""
    found = cli.app([str(argument) for argument in arguments], standalone_mode=False)
    return 0 if found is None else found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A deployment, images of alice's copy, of nobody's and of no image, a key, and their case."""
    place = tmp_path_factory.mktemp("case")
    deployment = write_deployment(place)
    assert (
        run(
            "generate", "--deployment", deployment, "--user", "alice", "--count", 1, "--out", place / "images"
        )
        == 0
    )
    (made,) = (place / "images").glob("*.png")
    made.rename(place / "images" / "a&b<i>.png")
    noise = np.random.default_rng(0).integers(256, size=(8, 8, 3)).astype(np.uint8)
    write_image(place / "images" / "noise.png", noise)
    (place / "images" / "text.png").write_text("no image")
    assert run("report", "key", place / "sign.pem") == 0
    command = ("attribute", "--deployment", deployment, place / "images", "--method", "encoder")
    assert run(*command, "--report", place / "case.html", "--key", place / "sign.pem") == 1
    return place


def files_of(folder):
    return sorted((folder / "images").iterdir())


@pytest.fixture(scope="module")
def record(folder):
    return json.loads((folder / "case.json").read_text())


@pytest.fixture
def copy(folder, tmp_path):
    """Page and record, to be changed."""
    for name in ("case.html", "case.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path / "case.json"


def test_the_record_holds_what_was_found(folder, record):
    marked, noise, text = record["files"]
    assert (marked["verdict"], marked["user"], marked["matched_bits"]) == ("user", "alice", 32)
    assert noise["user"] is None
    assert (text["verdict"], text["evidence"], text["sensitivity"]) == ("unreadable", None, [])
    code = open_registry(folder / "deployment").user("alice").code
    assert ((np.array(marked["evidence"]["ratios"]) > 0) == code).all()
    assert bytes.fromhex(marked["opening"]["code"]) == pack(code[None]).tobytes()
    assert (noise["opening"], text["opening"]) == (None, None)
    assert marked["pixels_sha256"] == pixel_hash(read_image(folder / "images" / "a&b<i>.png", size=None))
    assert {it["method"] for it in marked["sensitivity"]} == {"encoder", "multistart"}
    assert [it["seed"] for it in marked["sensitivity"]] == [0, 0, 1, 2], "nothing is random in the default"
    assert all(it["user"] == "alice" for it in marked["sensitivity"])
    opened = open_deployment(folder / "deployment")
    assert record["deployment"]["id"] == opened.manifest.id
    assert record["deployment"]["users"] == 2


def test_no_other_users_code_is_in_a_case(folder):
    registry = open_registry(folder / "deployment")
    bob = pack(registry.user("bob").code[None]).tobytes().hex()
    for name in ("case.html", "case.json"):
        assert bob not in (folder / name).read_text()
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_report_is_in_the_audit_log(folder):
    *_, entry = open_registry(folder / "deployment").audit()
    assert entry.action == "report"
    assert len(json.loads(entry.subject)["record"]) == 64


class Page(HTMLParser):
    """Counts pictures, and notes tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.images, self.open = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        del attrs
        if tag == "img":
            self.images += 1
        elif tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_shows_file_explanation_and_residual(folder):
    text = (folder / "case.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.images == 6  # of the two that are images
    assert "a&amp;b&lt;i&gt;.png" in text
    assert "a&b<i>" not in text
    assert "1 attributed to a user" in text
    assert "1 not readable" in text


def test_an_untouched_case_is_intact(folder, capsys):
    assert (
        run(
            "report",
            "check",
            folder / "case.json",
            "--public-key",
            folder / "sign.pem.pub",
            *files_of(folder),
        )
        == 0
    )
    assert "3 findings computed again, all as stated" in capsys.readouterr().out


def test_files_must_be_given(folder, capsys):
    assert run("report", "check", folder / "case.json") == 1
    assert "the 3 files of the case were not given" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["case.html", "case.json"])
def test_a_changed_case_fails(folder, copy, name, capsys):
    place = copy.parent / name
    place.write_text(place.read_text().replace("alice", "bob"))
    assert run("report", "check", copy, *files_of(folder)) == 1
    assert "FAILED" in capsys.readouterr().err


def test_a_page_of_another_name_is_not_followed_out_of_the_folder(folder, copy):
    record = json.loads(copy.read_text())
    record["page"]["name"] = "../case.html"
    key = signature.read_private(folder / "sign.pem")
    copy.write_text(json.dumps(signature.sign({k: v for k, v in record.items() if k != "signature"}, key)))
    assert check(copy, files_of(folder)).faults == []  # the one beside it is looked at
    (copy.parent / "case.html").unlink()
    assert check(copy, files_of(folder)).faults == ["the page 'case.html' is missing"]


def test_another_key_fails(copy, tmp_path, capsys):
    public = signature.create(tmp_path / "other.pem")
    assert run("report", "check", copy, "--public-key", public) == 1
    assert "another key" in capsys.readouterr().err


def test_a_name_that_comes_twice_fails(copy):
    """Whoever takes the first of them would read another verdict."""
    text = copy.read_text()
    twice = text.replace('"user": "alice"', '"user": "mallory", "user": "alice"', 1)
    assert json.loads(twice) == json.loads(text)
    copy.write_text(twice)
    assert run("report", "check", copy) == 1


@pytest.mark.parametrize(
    "record", [{"a": 1}, {"page": 3, "files": []}, {"page": {"name": "x", "sha256": ""}, "files": 3}]
)
def test_signed_nonsense_fails(folder, tmp_path, record, capsys):
    signed = signature.sign(record, signature.read_private(folder / "sign.pem"))
    (tmp_path / "case.json").write_text(json.dumps(signed))
    assert run("report", "check", tmp_path / "case.json") == 1
    assert "is no record of a case" in capsys.readouterr().err


def test_a_report_overwrites_nothing(folder):
    command = (
        "attribute",
        "--deployment",
        folder / "deployment",
        folder / "images",
        "--key",
        folder / "sign.pem",
    )
    for name in ("sign.pem", "case.html", "case.htm"):
        with pytest.raises(ValueError, match="overwrites nothing"):
            run(*command, "--report", folder / name)
    (folder / "text").write_text("")
    with pytest.raises((ValueError, OSError)):
        run(*command, "--report", folder / "text" / "case.html")


def test_a_file_that_changed_meanwhile_is_not_reported(folder, tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes((folder / "images" / "noise.png").read_bytes())
    request = Request(method=Method.ENCODER)
    opened, key = open_deployment(folder / "deployment"), signature.read_private(folder / "sign.pem")
    findings = list(attribute(opened, [path], request))
    assert findings[0].sha256 == file_hash(path)
    path.write_bytes((folder / "images" / "a&b<i>.png").read_bytes())
    with pytest.raises(ValueError, match="has changed since"):
        write_case(tmp_path / "case.html", opened, findings, request, key)
    assert [it.name for it in tmp_path.iterdir()] == ["noise.png"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '"text"', "[" * 100_000, '{"a":' * 990 + "1" + "}" * 990])
def test_what_is_no_record_fails(tmp_path, text):
    (tmp_path / "case.json").write_text(text)
    assert run("report", "check", tmp_path / "case.json") == 1


def test_files_that_changed_or_are_missing_are_told(folder, copy, tmp_path, capsys):
    (tmp_path / "noise.png").write_bytes(b"other")
    given = [folder / "images" / "a&b<i>.png", tmp_path / "noise.png"]
    assert run("report", "check", copy, *given) == 1
    said = capsys.readouterr().err
    for name in ("noise.png", "text.png"):
        assert f"{str(folder / 'images' / name)!a} is missing or not the file that was attributed" in said
    assert f"{str(given[1])!a} is no file of this case" in said


@pytest.mark.parametrize("given", [("--report", "case.html"), ("--key", "sign.pem")])
def test_page_and_key_need_each_other(folder, given):
    with pytest.raises(ValueError, match="need each other"):
        run("attribute", "--deployment", folder / "deployment", folder / "images", *given)


def test_a_page_is_no_record(tmp_path):
    with pytest.raises(ValueError, match="where the record would lie"):
        record_of(tmp_path / "case.json")
