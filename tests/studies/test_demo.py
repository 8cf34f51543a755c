"""The demonstration from end to end on a linear generator of 512 latent dimensions."""

import json
from dataclasses import asdict

import pytest
from linear_space import write_generator

from latentfp.report.demo import write_page
from latentfp.studies import demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of a demonstration with two users and one image each, and what `run` returned."""
    folder = tmp_path_factory.mktemp("demo")
    generator = write_generator(folder / "generator", latent_dim=512, size=16)
    return folder / "out", demo.run(folder / "out", users=2, images=1, generator=generator, sigma=1.0, seed=3)


def test_the_record_is_what_was_returned(shown):
    out, report = shown
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(asdict(report)))
    assert list(report.users) == ["alice", "bob"]
    assert {len(code) for code in report.users.values()} == {64}
    assert len(report.stds) == 512
    assert (report.settings.bits, report.settings.shift, report.settings.size) == (64, 448, 16)


def test_clean_images_are_attributed_and_unmarked_ones_are_not(shown):
    report = shown[1]
    clean = [file for file in report.files if file.user and file.attack == "none"]
    assert [(file.named, file.wrong_bits) for file in clean] == [("alice", 0), ("bob", 0)]
    unmarked = [file for file in report.files if file.source == "unmarked"]
    assert [file.verdict for file in unmarked] == ["none"] * 3


def test_every_attack_has_its_files(shown):
    out, report = shown
    assert {row.attack for row in report.accuracy} == {"none", "blur", "noise", "jpeg", "combination", "crop"}
    assert all(row.files == 2 for row in report.accuracy)
    assert all((out / name).is_file() for file in report.files for name in (file.file, file.plain) if name)
    assert all(file.psnr is None or file.psnr > 10 for file in report.files)


def test_page_is_written(shown):
    out, record = shown
    assert "alice" in write_page(out, record).read_text()
    assert "unmarked: 0 of 3 accused" in demo.summary(record)


def test_nothing_is_overwritten(tmp_path):
    with pytest.raises(ValueError, match="nothing is overwritten"):
        demo.run(tmp_path, users=1, images=1, generator="avatars", sigma=1.0, seed=0)


def test_names_do_not_run_out():
    names = [demo.name_of(i) for i in range(30)]
    assert names[0] == "alice"
    assert len(set(names)) == 30
