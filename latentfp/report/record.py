"""report.json: what a demonstration did and found, one record a file that was attributed.

The page is a function of this record and of the image files that it names, all of them inside its folder.
Reading checks both the types and that the record does not contradict itself, so that no page can claim more
than its files show.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from latentfp.report.parsing import parse

NAME = "report.json"


class Settings(NamedTuple):
    """Of the generator, the fingerprint and the attribution; `stages`: how many files each decided.

    `alpha` is the largest p-value that names a user.
    """

    generator: str
    sha256: str
    size: int
    sigma: float
    shift: int
    bits: int
    coding: str
    min_distance: int
    users: int
    images: int
    stages: str
    alpha: float
    seed: int


class Seconds(NamedTuple):
    """Wall-clock time of each part."""

    fit: float
    generate: float
    attack: float
    attribute: float


class Spectrum(NamedTuple):
    """Standard deviation of every principal axis; axes shift … shift + bits - 1 carry the fingerprint."""

    stds: list[float]
    shift: int
    bits: int
    sigma: float


class User(NamedTuple):
    """A registered user; the code is written in 0 and 1."""

    name: str
    code: str


class File(NamedTuple):
    """One image file with its verdict. `user` is None where no registered user's copy made it.

    `plain` is the same image without its code, `clean` with it and before the attack; `psnr` compares these.
    `confidence` is P(bit = 1) of every bit; `matched_bits` and `p_value` are those of the best user.
    """

    file: str
    user: str | None
    source: str
    attack: str
    plain: str | None
    clean: str | None
    verdict: Literal["user", "none", "inconclusive", "unreadable"]
    named: str | None
    matched_bits: int | None
    bits: int
    p_value: float | None
    status: str
    seconds: float
    correct: bool
    wrong_bits: int | None
    confidence: list[float] | None
    psnr: float | None


class Accuracy(NamedTuple):
    """Of the users' files under one attack; `interval` is that of the share of `correct` ones."""

    attack: str
    files: int
    correct: int
    all_bits: int
    bit_accuracy: float
    interval: list[float]


class Negatives(NamedTuple):
    """Files that no registered user made, and how many were attributed to one all the same."""

    source: str
    files: int
    accused: int


class Report(NamedTuple):
    """The whole of report.json."""

    title: str
    created: str
    command: str
    versions: dict[str, str]
    hardware: str
    settings: Settings
    seconds: Seconds
    spectrum: Spectrum
    users: list[User]
    files: list[File]
    accuracy: list[Accuracy]
    negatives: list[Negatives]


def read_report(folder: Path) -> Report:
    """The record of a demonstration; ValueError, with place and reason, for one that cannot be shown."""
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a readable JSON file ({error}): run the demonstration again"
        ) from error
    report = parse(Report, content, NAME)
    for fault in (*_user_faults(report), *_file_faults(report), *_number_faults(report)):
        raise ValueError(f"{path}: {fault}")
    return report


def _user_faults(report: Report) -> Iterator[str]:
    bits, spectrum = report.settings.bits, report.spectrum
    names = [user.name for user in report.users]
    if len(set(names)) < len(names):
        yield f"users are {', '.join(names)}, expected every name once"
    for user in report.users:
        if len(user.code) != bits or set(user.code) - {"0", "1"}:
            yield f"the code of {user.name} is {user.code!r}, expected {bits} digits 0 or 1"
    axes = len(spectrum.stds)
    if spectrum.shift < 0 or spectrum.bits < 1 or spectrum.shift + spectrum.bits > axes:
        yield f"spectrum has {axes} axes, expected to find {spectrum.bits} from axis {spectrum.shift} on"
    if min(spectrum.stds, default=-1) < 0 or max(spectrum.stds) == 0 or spectrum.sigma <= 0:
        yield "spectrum holds a negative std, no positive one, or no positive sigma"


def _file_faults(report: Report) -> Iterator[str]:
    names = {user.name for user in report.users}
    for i, file in enumerate(report.files):
        place = f"files[{i}] ({file.file!r})"
        if {file.user, file.named} - names - {None}:
            yield f"{place} is of {file.user} and names {file.named}, expected registered users or null"
        if (file.verdict == "user") != (file.named is not None):
            yield f"{place} has the verdict {file.verdict!r}, but names {file.named}"
        if file.verdict != "unreadable":
            yield from (f"{place} {fault}" for fault in _verdict_faults(file))


def _verdict_faults(file: File) -> Iterator[str]:
    if file.matched_bits is None or file.p_value is None or file.confidence is None:
        yield "was read, expected matched_bits, p_value and confidence"
    elif not (0 <= file.matched_bits <= file.bits and 0 <= file.p_value <= 1):
        yield f"has {file.matched_bits} of {file.bits} bits with p {file.p_value}, expected 0 … bits, 0 … 1"
    elif len(file.confidence) != file.bits or not all(0 <= p <= 1 for p in file.confidence):
        yield f"has {len(file.confidence)} confidences, expected {file.bits} probabilities"
    if file.correct != (file.named == file.user):
        yield f"is said to be correct={file.correct}, but is of {file.user} and names {file.named}"


def _number_faults(report: Report) -> Iterator[str]:
    for row in report.accuracy:
        files = [file for file in report.files if file.user is not None and file.attack == row.attack]
        correct = sum(file.correct for file in files)
        if (row.files, row.correct) != (len(files), correct):
            counted = f"{row.correct} of {row.files}"
            yield f"accuracy of {row.attack!r} counts {counted}, the files {correct} of {len(files)}"
        if not (row.all_bits <= row.files and 0 <= row.bit_accuracy <= 1 and _is_interval(row.interval)):
            yield f"accuracy of {row.attack!r} has counts or shares out of range"
    for row in report.negatives:
        files = [file for file in report.files if file.user is None and file.source == row.source]
        accused = sum(file.named is not None for file in files)
        if (row.files, row.accused) != (len(files), accused):
            counted = f"{row.accused} of {row.files}"
            yield f"negatives of {row.source!r} count {counted}, the files {accused} of {len(files)}"


def _is_interval(ends: list[float]) -> bool:
    return len(ends) == 2 and 0 <= ends[0] <= ends[1] <= 1
