"""Usernames that look like others."""

import pytest

from latentfp.deployment.usernames import check_usernames, latin, warning


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("alice", None),
        ("Zoë", None),
        ("山田", None),
        ("Иван", None),  # and has no look-alike in ASCII
        ("\u0430lice", "reads as alice"),  # a Cyrillic а
        ("\u0430\u0440\u0440\u04cf\u0435", "reads as appie"),  # Cyrillic alone
        ("\u03a9mega", "mixes alphabets whose letters look alike"),  # a Greek Ω
    ],
)
def test_look_alikes_are_told(name, told):
    assert warning(name) == told


def test_look_alikes_of_verdicts_are_no_names():
    """Printed they would say that nobody was named."""
    for word in ("none", "nobody"):
        fake = word.replace("o", "\u043e")
        assert latin(fake) == word
        with pytest.raises(ValueError, match="is no name for a user"):
            check_usernames([fake])
