"""The bench of decoding: what it shows to the decoder, and what it counts."""

import json

import numpy as np

from latentfp.studies import decoding_speed


def test_readings_within_the_radius_are_all_found(tmp_path):
    plan = {"bits": 32, "message": 16, "readings": 40, "wrong": (0, 3), "noise": 0.5}
    result = decoding_speed.run(**plan, seed=0, workdir=tmp_path)
    assert json.loads((tmp_path / "decoding.json").read_text()) == result
    assert list(result["rows"]) == ["0 wrong", "3 wrong", "soft"]
    assert result["distance"] == 8  # so 3 wrong bits are always corrected
    assert [result["rows"][name]["right"] for name in ("0 wrong", "3 wrong")] == [1, 1]
    assert 0.5 < result["rows"]["soft"]["right"] <= 1
    assert 0.3 < result["wrong_bits_of_soft"] < 1.5  # 32 · P[N(0, 1) > 2] = 0.73


def test_as_many_bits_are_turned_as_are_said():
    sign = np.sign(np.random.default_rng(0).normal(size=(50, 32))).astype(int)
    turned = decoding_speed._flipped(sign, 4, np.random.default_rng(1))
    assert ((turned != sign).sum(axis=1) == 4).all()
    assert len(np.unique((turned != sign).argmax(axis=1))) > 5
