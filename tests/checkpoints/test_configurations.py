"""Configurations within limits: each limit by its own message."""

import pytest

from latentfp.checkpoints.configurations import read_configuration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", "it has aliases or is nested"),
        ("a: " + "[" * 40 + "]" * 40, "it has aliases or is nested"),
        ("a: 1 #" + " " * 2**16, "it has more than 65536 bytes"),
    ],
)
def test_limits(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_configuration(path)
    path.write_text("a: [1, 2]\n")
    assert read_configuration(path) == {"a": [1, 2]}
