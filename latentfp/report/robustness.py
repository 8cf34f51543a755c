"""The robustness study on paper: tables in Markdown, accuracy by attack and reliability diagrams in SVG.

All-bits accuracy is the share of images with every bit right; its 95 % interval is the exact binomial one.
Bit accuracy has none: the bits of one image depend on each other. Every number is one of the record.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latentfp.report.charts import Bins, Series, write_reliability, write_rows
from latentfp.report.markdown import made_with, number, percent_range, plain, table
from latentfp.report.parsing import parse
from latentfp.report.wording import count, duration

METHODS = {"encoder": "encoder", "decoder": "decoder", "refine": "descent"}
CLEAN = "none"


class Accuracy(NamedTuple):
    """`all_bits` of `images` with every bit right; `interval` of that share."""

    images: int
    bit_accuracy: float
    all_bits: int
    interval: list[float]


class Calibration(NamedTuple):
    """Scores in [0, 1], and of each bin the bits, those right, and the sum of their confidences."""

    expected_calibration_error: float
    brier: float
    bits: list[int]
    right: list[int]
    confidence: list[float]


class Measured(NamedTuple):
    """One method under one attack; `same_images`: on those that the search was tried on."""

    images: int
    bit_accuracy: float
    all_bits: int
    interval: list[float]
    calibration: Calibration
    same_images: Accuracy | None


class Row(NamedTuple):
    """One attack, with the measurements of every method (keys of METHODS) and of the paper's search."""

    attack: str
    methods: dict[str, Measured]
    reference: Accuracy | None


class Search(NamedTuple):
    """The budget of the paper's search."""

    images: int
    starts: int
    steps: int


class Robustness(NamedTuple):
    """The record; `name` is the stem of every file written."""

    name: str
    title: str
    command: str
    hardware: str
    seconds: float
    sigma: float
    coding: str
    bits: int
    search: Search
    rows: list[Row]
    pooled: dict[str, Calibration]


def write_robustness(folder: Path, result: dict[str, Any]) -> Path:
    """Write NAME.md, NAME.svg and NAME_reliability.svg into `folder`; returns the path of NAME.md.

    ValueError where a field of `Robustness` is missing.
    """
    study: Robustness = parse(Robustness, result, "robustness")
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / f"{study.name}.svg", [row.attack for row in study.rows], _panels(study))
    write_reliability(folder / f"{study.name}_reliability.svg", _diagrams(study))
    parts = [
        _heading(study),
        "## Accuracy",
        _accuracies(study.rows),
        f"![Accuracy by attack]({study.name}.svg)",
        *_search(study),
        "## Calibration",
        "Expected calibration error of the bits in 15 bins, and Brier score (0.25: undecided).",
        _calibrations(study),
        f"![Reliability diagrams]({study.name}_reliability.svg)",
    ]
    page = folder / f"{study.name}.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _heading(study: Robustness) -> str:
    return (
        f"# {plain(study.title)}\n\n"
        f"σ {study.sigma:g}, {plain(study.coding)} codes of {study.bits} bits, {len(study.rows)} attacks in "
        f"{duration(study.seconds)} on {plain(study.hardware)}. No method is told of the attack. Intervals "
        f"are 95 %, exact binomial (Clopper and Pearson). {made_with(study.command)}"
    )


def _methods(rows: Sequence[Row]) -> dict[str, str]:
    """Those that were measured, with their titles."""
    return {method: words for method, words in METHODS.items() if method in rows[0].methods}


def _accuracies(rows: Sequence[Row]) -> str:
    columns = {"attack": [plain(row.attack) for row in rows]}
    for method, words in _methods(rows).items():
        found = [row.methods[method] for row in rows]
        columns[f"{words}: bits"] = [_percent(one) for one in found]
        columns[f"{words}: all bits"] = [_complete(one) for one in found]
    return table({**columns, "images": [_images(row) for row in rows]})


def _images(row: Row) -> str:
    """How many there were, once where it is the same for all methods."""
    counts = {METHODS[method]: one.images for method, one in row.methods.items()}
    if len(set(counts.values())) == 1:
        return str(counts["descent"])
    return ", ".join(f"{words} {images}" for words, images in counts.items())


def _search(study: Robustness) -> list[str]:
    rows = [row for row in study.rows if row.reference is not None]
    if not rows:
        return []
    it = study.search
    columns = {"attack": [plain(row.attack) for row in rows]}
    for method, title in _methods(rows).items():
        columns[title] = [_percent(row.methods[method].same_images) for row in rows]
    columns["the paper's search"] = [_percent(row.reference) for row in rows]
    told = (
        f"Bit accuracy on the first {count(it.images, 'image')} of those. The search "
        f"has {count(it.starts, 'start')} of {count(it.steps, 'step')}; the paper's has 20 of 2000."
    )
    return ["## Against the paper's search", told, table(columns)]


def _calibrations(study: Robustness) -> str:
    columns = {"attack": [*(plain(row.attack) for row in study.rows), "**all**"]}
    for method, words in _methods(study.rows).items():
        found = [*(row.methods[method].calibration for row in study.rows), study.pooled[method]]
        columns[f"{words}: error"] = [f"{one.expected_calibration_error:.4f}" for one in found]
        columns[f"{words}: Brier"] = [f"{one.brier:.4f}" for one in found]
    return table(columns)


def _percent(found: Measured | Accuracy | None) -> str:
    return number(None if found is None else 100 * found.bit_accuracy, ".2f") + " %" * (found is not None)


def _complete(found: Measured) -> str:
    return f"{100 * found.all_bits / found.images:.1f} % ({percent_range(found.interval)})"


def _panels(study: Robustness) -> dict[str, list[Series]]:
    methods = _methods(study.rows)
    found = {words: [row.methods[method] for row in study.rows] for method, words in methods.items()}
    bits = [Series(words, [one.bit_accuracy for one in ones]) for words, ones in found.items()]
    searched = [None if row.reference is None else row.reference.bit_accuracy for row in study.rows]
    if any(value is not None for value in searched):
        bits.append(Series(f"the paper's search, {count(study.search.images, 'image')}", searched))
    complete = [
        Series(words, [one.all_bits / one.images for one in ones], [one.interval for one in ones])
        for words, ones in found.items()
    ]
    return {"bit accuracy": bits, "images with all bits right": complete}


def _diagrams(study: Robustness) -> dict[str, list[Bins]]:
    methods = _methods(study.rows)
    diagrams = {"all attacks": [_bins(words, study.pooled[method]) for method, words in methods.items()]}
    for row in study.rows:
        if row.attack == CLEAN:
            clean = [_bins(words, row.methods[method].calibration) for method, words in methods.items()]
            diagrams = {"no attack": clean, **diagrams}
    return diagrams


def _bins(name: str, found: Calibration) -> Bins:
    full = [
        (confidence / bits, right / bits, bits / sum(found.bits))
        for bits, right, confidence in zip(found.bits, found.right, found.confidence, strict=True)
        if bits
    ]
    confidence, right, weight = (list(column) for column in zip(*full, strict=True))
    return Bins(name, confidence, right, weight)
