"""What may be the name of a user: a short printable text that is also the beginning of a file name."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

LONGEST_NAME = 64
SHOWN = 5


def checked(name: str) -> str:
    """The name in Unicode's normal form C. ValueError for what is no name."""
    normal = unicodedata.normalize("NFC", name)
    if normal.isalnum() and len(normal) <= LONGEST_NAME:
        return normal
    rules = {
        f"1 … {LONGEST_NAME} characters": 1 <= len(normal) <= LONGEST_NAME,
        "only printable characters": normal.isprintable(),
        "no space at its ends": normal == normal.strip(),
        "no / and no \\": not {"/", "\\"} & {*normal},
        "no . or - at its start": not normal.startswith((".", "-")),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError(f"{name!a} is no name for a user, expected {', '.join(broken)}")
    return normal


def all_checked(names: Sequence[str]) -> list[str]:
    """The names in normal form C, in order. ValueError for what is no name and for one given twice."""
    wanted = [checked(name) for name in names]
    if len(set(wanted)) < len(wanted):
        refuse([name for name, times in Counter(wanted).items() if times > 1])
    return wanted


def refuse(taken: Sequence[str]) -> None:
    """ValueError where any name is taken, with the first of them."""
    if taken:
        more = f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else ""
        raise ValueError(
            f"{[*taken[:SHOWN]]}{more} are registered already or given twice: choose other names"
        )
