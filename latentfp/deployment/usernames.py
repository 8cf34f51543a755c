"""What users may be called, and which names look like others.

A username is a short printable text that is also the beginning of names of files. Letters of other alphabets
may look like Latin ones, so that "аlice" with a Cyrillic а reads as "alice": such a name is allowed, for it
may be somebody's, and told (Unicode Technical Standard 39, confusables).
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

LONGEST, LARGEST = 64, 192  # characters and bytes of a username: names of files have 255 bytes, and say more
VERDICTS = ("none", "nobody", "inconclusive", "unreadable")  # what is said where no user is named
SHOWN = 5  # usernames in a message


def check_usernames(usernames: Sequence[str]) -> list[str]:
    """Usernames in Unicode's normal form C, in order. ValueError for what is none and for one given twice."""
    wanted = [_checked(name) for name in usernames]
    refuse_taken([name for name, times in Counter(wanted).items() if times > 1])
    return wanted


def refuse_taken(taken: Sequence[str]) -> None:
    """ValueError where there are any."""
    if taken:
        more = f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else ""
        raise ValueError(
            f"{[*taken[:SHOWN]]}{more} are registered already or given twice: choose other names"
        )


def warning(name: str) -> str | None:
    """What a reader of this username may be misled by, None where nothing is known.

    >>> from latentfp.deployment.usernames import warning
    >>> warning("\\u0430lice")
    'reads as alice'
    >>> warning("Zoë")
    """
    if name.isascii():
        return None
    from confusable_homoglyphs import confusables

    reading = latin(name)
    if reading.isascii():
        return f"reads as {reading}"
    return "mixes alphabets whose letters look alike" if confusables.is_dangerous(name) else None


def latin(name: str) -> str:
    """The name with every letter that looks like letters of ASCII replaced by those."""
    if name.isascii():
        return name
    from confusable_homoglyphs import confusables

    alike = confusables.confusables_data
    letters = ((one, [it["c"] for it in alike.get(one, []) if it["c"].isascii()]) for one in name)
    return "".join(one if one.isascii() or not found else found[0] for one, found in letters)


def _checked(name: str) -> str:
    normal = unicodedata.normalize("NFC", name)
    octets = len(normal.encode(errors="surrogatepass"))
    rules = {
        f"1 … {LONGEST} characters": 1 <= len(normal) <= LONGEST,
        f"at most {LARGEST} bytes in UTF-8": octets <= LARGEST,
        "only printable characters": normal.isprintable(),
        "no space at its ends": normal == normal.strip(),
        "no / and no \\": not {"/", "\\"} & {*normal},
        "no . or - at its start": not normal.startswith((".", "-")),
        f"none of {', '.join(VERDICTS)}": latin(normal).casefold() not in VERDICTS,
    }
    if not all(rules.values()):
        broken = [rule for rule, holds in rules.items() if not holds]
        raise ValueError(f"{name!a} is no name for a user, expected {', '.join(broken)}")
    return normal
