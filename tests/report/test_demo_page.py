"""The page, parsed as a browser would: complete, self-contained, and safe with any name."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from latentfp.report import demo as demo_page
from latentfp.report.demo import write_page

VOID = {"meta", "img", "br", "path", "rect", "line", "polyline", "circle"}


class Page(HTMLParser):
    """Tags with their attributes, visible text by section, and whether every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {"": ""}
        self.open: list[str] = []
        self.section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
            self.sections[self.section] = ""

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.sections[self.section] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def kinds(self, word: str) -> int:
        return sum(word in (attributes.get("class") or "").split() for _, attributes in self.tags)


def carried(image: dict[str, str | None]) -> np.ndarray:
    data = (image["src"] or "").removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


@pytest.fixture
def page(demo, content):
    return Page(write_page(*demo(content)).read_text(encoding="utf-8"))


def test_every_tag_is_closed(page):
    assert page.open == []


def test_nothing_is_fetched_and_nothing_runs(page):
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, name)
    policy = [
        tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_style_sheet_fetches_nothing(demo, content):
    assert not re.search(r"url\(|@import", write_page(*demo(content)).read_text(encoding="utf-8"))


def test_every_image_is_inside_and_described(page):
    images = page.all("img")
    # two triptychs, four of the five cells of the table (one is not readable), two without a code
    assert len(images) == 2 * 3 + 4 + 2
    for image in images:
        carried(image)
        assert image["alt"]
    assert [image["alt"] for image in images[:3]] == [
        "alice, image 1, original",
        "alice, image 1, fingerprinted",
        "alice, image 1, difference times ten",
    ]


def test_images_are_the_files(demo, content):
    folder, record = demo(content)
    images = Page(write_page(folder, record).read_text(encoding="utf-8")).all("img")
    shown = [carried(image) for image in images[:3]]
    plain, marked = (
        np.asarray(Image.open(folder / name)).astype(int) for name in ("plain/1.png", "images/1.png")
    )
    np.testing.assert_array_equal(shown[0], plain)
    np.testing.assert_array_equal(shown[1], marked)
    np.testing.assert_array_equal(shown[2], np.clip(128 + 10 * (marked - plain), 0, 255))


def test_badges_tell_without_colour(page):
    # of the files, and once in the key
    counts = {kind: page.kinds(kind) for kind in ("right", "wrong", "missed", "unreadable")}
    assert counts == {"right": 3 + 1, "wrong": 2 + 1 + 1, "missed": 1 + 1, "unreadable": 1 + 1}
    assert "✓right: alice" in page.sections["attacks"]
    assert "○missed: none" in page.sections["attacks"]
    assert "!unreadable: not readable" in page.sections["attacks"]
    assert "✗wrong: alice" in page.sections["attacks"]
    assert "✗wrong: <script>" in page.sections["negatives"]


def test_sections(page):
    text = page.sections
    ids = ["faces", "attacks", "strips", "negatives", "accuracy", "axes", "terms"]
    assert list(text) == ["", *ids]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in ids]
    assert "2 of 2 clean files named their user" in text[""]
    assert "PSNR 30.2 dB" in text["faces"]
    assert "13/16 bits" in text["attacks"]
    assert "alice after the attacks: 1 file" in text["strips"]
    assert "3 wrong" in text["strips"]
    assert 'style "x": 1 of 1 file accused' in text["negatives"]
    assert "best match 9/16 bits, p = 0.64" in text["negatives"]
    assert "no attack220016 … 100 %2 of 2100.0 %" in text["accuracy"].replace("\n", "")
    assert "blur20110" in text["accuracy"]
    assert "24 principal axes" in text["axes"]
    assert "N = 2 users" in text["terms"]
    assert "latentfp demo --out <here>" in text[""]


def test_names_cannot_become_markup(demo, content):
    nasty = "'\"><img src=x onerror=alert(1)>$title${command}\u202e\udc80"
    for file in content["files"]:
        file.update({name: nasty for name in ("user", "named", "source") if file[name] == "alice"})
        file["attack"] = {"blur": "<b>'\"&"}.get(file["attack"], file["attack"])
    content["users"] = {nasty: content["users"].pop("alice"), **content["users"]}
    content["accuracy"][1]["attack"] = "<b>'\"&"
    for name in ("title", "created", "command", "hardware"):
        content[name] = nasty
    content["versions"] = {nasty: nasty}
    content["settings"]["generator"] = content["settings"]["sha256"] = nasty
    page = Page(write_page(*demo(content)).read_text(encoding="utf-8"))
    test_every_tag_is_closed(page)
    test_nothing_is_fetched_and_nothing_runs(page)
    assert len(page.all("img")) == 12
    assert not page.all("b")[3:]


def test_the_same_again(demo, content):
    folder, record = demo(content)
    first = write_page(folder, record).read_bytes()
    assert write_page(folder, record).read_bytes() == first
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["report.html"]


@pytest.mark.parametrize("name", ["images/1.png", "plain/1.png", "attacked/2.png", "negatives/1.png"])
def test_a_missing_image(demo, content, name):
    folder, record = demo(content)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: no such file"):
        write_page(folder, record)


def test_a_missing_unreadable_one_is_shown_as_such(demo, content):
    folder, record = demo(content)
    (folder / "attacked/broken.png").unlink()
    assert "no image" in Page(write_page(folder, record).read_text(encoding="utf-8")).sections["attacks"]


def test_a_demonstration_without_negatives_or_attacks(demo, content):
    content["files"] = content["files"][:1]
    content["accuracy"] = [{**content["accuracy"][0], "files": 1, "correct": 1, "all_bits": 1}]
    content["negatives"] = []
    page = Page(write_page(*demo(content)).read_text(encoding="utf-8"))
    assert "None were attributed" in page.sections["negatives"]
    assert page.open == []


@pytest.fixture
def record(demo, content):
    return demo(content)[1]


def only(record, *indices):
    return [record.files[i] for i in indices]


def test_headline(record):
    space = "\N{NO-BREAK SPACE}"
    accused = f"2 of 2 clean files named their user; 1{space}of 2 unmarked files accused a user."
    assert demo_page.headline(record.files) == accused
    cleared = f"1 of 1 clean file named its user; 0{space}of 1 unmarked file accused anyone."
    assert demo_page.headline(only(record, 0, 5)) == cleared
    assert demo_page.headline(only(record, 0, 1)) == "1 of 1 clean file named its user."


def test_aftermath(record):
    # one blurred file named nobody, one a wrong user, and one was not readable
    expected = (
        "After the attacks 0 of 3 files still named the right user, 1 named a wrong one, and 2 named nobody."
    )
    assert demo_page.aftermath(record.files) == expected
    assert demo_page.aftermath(only(record, 0)) == ""


def test_cost(record):
    parts = "fit 1.0 s, generate 2.0 s, attack 0.5 s, attribute 2 min 5 s"
    assert demo_page.cost(record) == f"2 min 8 s in all: {parts} (18 s a file), on 2 cores."
    assert "a file" not in demo_page.cost(replace(record, files=[]))


def test_settings_are_escaped(record):
    hostile = replace(record, settings=replace(record.settings, generator="<b>", coding="<i>", stages="<u>"))
    shown = "".join(demo_page.settings(hostile).values())
    assert not {"<b>", "<i>", "<u>"} & set(shown.split())
    assert "&lt;b&gt;" in shown


def test_match(record):
    assert demo_page.match(record.files[0]) == "16/16 bits, p = 3 × 10<sup>−5</sup>"
    assert demo_page.match(record.files[2]) == ""
