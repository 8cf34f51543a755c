"""The bench of attacks on two suites: every row measured, and a page."""

import numpy as np

from latentfp.augment.suites import suite
from latentfp.report.attacks import write_attacks
from latentfp.studies import attack_speed


def test_every_attack_is_timed_and_written_down(tmp_path):
    result = attack_speed.run(size=24, images=2, suites=("codecs", "geometry"), seed=0, workdir=tmp_path)
    expected = [(name, attack.name) for name in ("codecs", "geometry") for attack in suite(name)]
    assert [(row["suite"], row["attack"]) for row in result["rows"]] == expected
    for row in result["rows"]:
        assert row["images_per_second"] > 0.1
        assert (row["mean_change_levels"] == 0) == (row["attack"] == "none")
    assert (tmp_path / "attack_speed.json").exists()
    text = write_attacks(tmp_path, result).read_text()
    assert text.count("| geometry |") == len(suite("geometry"))
    assert "24x24" in text


def test_a_number_of_its_own_for_each_image():
    seen = []

    def apply(_, pixels):
        seen.append(pixels.copy())
        return pixels

    attack = suite("codecs")[0]._replace(apply=apply)
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    found = attack_speed.measure(attack, pixels, seed=0)
    np.testing.assert_array_equal(seen[1:], pixels)
    assert found["mean_change_levels"] == 0
