"""The sentences of the page: what was found, with which settings, at what cost. Text for HTML, escaped."""

import math
from html import escape

from latentfp.report.record import File, Report

CLEAN = "none"  # the name of the attack that does nothing


def headline(report: Report) -> str:
    """The result in one sentence."""
    clean = [file for file in report.files if file.user is not None and file.attack == CLEAN]
    right = sum(file.correct for file in clean)
    sentence = (
        f"{right} of {count(len(clean), 'clean file')} named {'its' if len(clean) == 1 else 'their'} user"
    )
    strangers = [file for file in report.files if file.user is None]
    if not strangers:
        return f"{sentence}."
    accused = sum(file.named is not None for file in strangers)
    share = f"{accused}\N{NO-BREAK SPACE}of {count(len(strangers), 'unmarked file')}"
    return f"{sentence}; {share} accused {'a user' if accused else 'anyone'}."


def aftermath(report: Report) -> str:
    """What became of the users' files after the attacks, in one sentence; empty where there were none."""
    attacked = [file for file in report.files if file.user is not None and file.attack != CLEAN]
    if not attacked:
        return ""
    right = sum(file.correct for file in attacked)
    wrong = sum(file.named is not None and not file.correct for file in attacked)
    lost = len(attacked) - right - wrong
    return (
        f"After the attacks {right} of {count(len(attacked), 'file')} still named the right user, "
        f"{wrong} named a wrong one, and {lost} named nobody."
    )


def settings(report: Report) -> list[tuple[str, str]]:
    """Label and value of every setting, in the order in which they are met."""
    it = report.settings
    return [
        ("generator", f"{escape(it.generator)}, {it.size} × {it.size}"),
        ("weights", f'<code title="{escape(it.sha256)}">{escape(it.sha256[:12])}</code>'),
        ("fingerprint", f"{it.bits} bits from axis {it.shift} on, strength {it.sigma:g}"),
        ("codes", f"{escape(it.coding)}, any two differ in at least {it.min_distance} bits"),
        ("users", f"{it.users}, {count(it.images, 'image')} each"),
        ("decided by", f"{escape(it.stages)} files"),
        ("limit for a name", f"p ≤ {power_of_ten(it.alpha)}"),
        ("seed", str(it.seed)),
    ]


def cost(report: Report) -> str:
    """What every part took, and one file of the search."""
    parts = report.seconds._asdict()
    shown = [f"{part} {duration(seconds)}" for part, seconds in parts.items()]
    files = len(report.files)
    each = f" ({duration(report.seconds.attribute / files)} a file)" if files else ""
    return f"{duration(sum(parts.values()))} in all: {', '.join(shown)}{each}, on {escape(report.hardware)}."


def match(file: File) -> str:
    """How well the best user fits, and the chance of that; empty for a file that could not be read."""
    if file.matched_bits is None or file.p_value is None:
        return ""
    return f"{file.matched_bits}/{file.bits} bits, p = {power_of_ten(file.p_value)}"


def power_of_ten(value: float) -> str:
    """A number of two digits, with a power of ten below 0.01 and from 10 000 on."""
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return f"{value:.2g}" if value < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    factor = "" if mantissa == "1.0" else f"{mantissa.removesuffix('.0')} × "
    return f"{factor}10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>−")


def duration(seconds: float) -> str:
    """Seconds below two minutes, minutes and seconds below two hours, hours and minutes above."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(math.floor(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
