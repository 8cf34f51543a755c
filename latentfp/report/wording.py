"""Numbers and counts in words, for pages."""

import math


def power_of_ten(value: float) -> str:
    """A number of two digits as HTML, with a power of ten below 0.01 and from 10 000 on."""
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
