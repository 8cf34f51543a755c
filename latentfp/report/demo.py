"""The page of a demonstration: its record (studies/demo.py) and the image files that it names.

It is one HTML file that needs nothing else (report/html.py); it follows light and dark, and prints.
"""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from latentfp.data.files import UnreadableImage, read_image
from latentfp.report.html import (
    badge,
    difference,
    filled,
    picture,
    power_of_ten,
    side_by_side,
    spectrum,
    strip,
    table,
    terms,
    whisker,
)
from latentfp.report.markdown import count, duration
from latentfp.studies.demo import CLEAN, File, Record

Images = dict[str, dict[str, File]]  # of a user: image -> attack -> file
COUNTED = (
    *("attack", "files", "right user", "wrong user", "nobody", "", "95 % interval", "all bits right"),
    "bits right",
)


def write_page(folder: Path, record: Record) -> Path:
    """Write report.html into the folder of a demonstration, and return its path.

    ValueError, in one line, where an image file that was attributed cannot be read.
    """
    page = folder / "report.html"
    page.write_text(render(record, folder), encoding="utf-8", errors="backslashreplace")
    return page


def render(record: Record, folder: Path) -> str:
    """The page as text, with every image of the folder that the record names."""
    it, psnrs = record.settings, sorted(file.psnr for file in record.files if file.psnr is not None)
    return filled(
        "demo.html",
        title=escape(record.title),
        created=escape(record.created),
        command=escape(record.command),
        versions=escape(", ".join(f"{name} {version}" for name, version in record.versions.items())),
        headline=headline(record.files),
        aftermath=aftermath(record.files),
        settings=terms(settings(record)),
        cost=cost(record),
        psnr=f" Median PSNR {psnrs[len(psnrs) // 2]:.1f} dB." if psnrs else "",
        faces="".join(_faces(user, code, record, folder) for user, code in record.users.items()),
        attacks="".join(_attacks(user, record, folder) for user in record.users),
        strips="".join(_strips(user, i, record) for i, user in enumerate(record.users)),
        negatives=_negatives(record, folder) or "<p>None were attributed.</p>",
        accuracy=table(COUNTED, _counts(record), kind="accuracy", named=True),
        axes=_axes(record),
        axis_count=len(record.stds),
        bits=it.bits,
        sigma=f"{it.sigma:g}",
        users=it.users,
        alpha=power_of_ten(it.alpha),
    )


def headline(files: Sequence[File]) -> str:
    """The result in one sentence."""
    clean = [file for file in files if file.user is not None and file.attack == CLEAN]
    right = sum(file.correct for file in clean)
    whose = "its" if len(clean) == 1 else "their"
    sentence = f"{right} of {count(len(clean), 'clean file')} named {whose} user"
    strangers = [file for file in files if file.user is None]
    if not strangers:
        return f"{sentence}."
    accused = sum(file.named is not None for file in strangers)
    share = f"{accused}\N{NO-BREAK SPACE}of {count(len(strangers), 'unmarked file')}"
    return f"{sentence}; {share} accused {'a user' if accused else 'anyone'}."


def aftermath(files: Sequence[File]) -> str:
    """What became of the users' files after the attacks, in one sentence; empty where there were none."""
    attacked = [file for file in files if file.user is not None and file.attack != CLEAN]
    if not attacked:
        return ""
    right = sum(file.correct for file in attacked)
    wrong = sum(file.named is not None and not file.correct for file in attacked)
    return (
        f"After the attacks {right} of {count(len(attacked), 'file')} still named the right user, "
        f"{wrong} named a wrong one, and {len(attacked) - right - wrong} named nobody."
    )


def settings(record: Record) -> dict[str, str]:
    """Name and value of every setting as HTML, in the order in which they are met."""
    it = record.settings
    return {
        "generator": f"{escape(it.generator)}, {it.size} × {it.size}",
        "weights": f'<code title="{escape(it.sha256)}">{escape(it.sha256[:12])}</code>',
        "fingerprint": f"{it.bits} bits from axis {it.shift} on, strength {it.sigma:g}",
        "codes": f"{escape(it.coding)}, any two differ in at least {it.min_distance} bits",
        "users": f"{it.users}, {count(it.images, 'image')} each",
        "decided by": f"{escape(it.stages)} files",
        "limit for a name": f"p ≤ {power_of_ten(it.alpha)}",
        "seed": str(it.seed),
    }


def cost(record: Record) -> str:
    """What every part took, and the attribution of one file."""
    shown = ", ".join(f"{part} {duration(seconds)}" for part, seconds in record.seconds.items())
    files = len(record.files)
    each = f" ({duration(record.seconds['attribute'] / files)} a file)" if files else ""
    return f"{duration(sum(record.seconds.values()))} in all: {shown}{each}, on {escape(record.hardware)}."


def match(file: File) -> str:
    """How well the best user fits, and the chance of that; empty for a file that could not be read."""
    if file.matched_bits is None or file.p_value is None:
        return ""
    return f"{file.matched_bits}/{file.bits} bits, p = {power_of_ten(file.p_value)}"


def _verdict(file: File) -> str:
    if file.verdict == "unreadable":
        return badge("unreadable", "!", "not readable")
    name = file.named or file.verdict
    if file.correct:
        return badge("right", "✓", name)
    return badge("missed", "○", name) if file.named is None else badge("wrong", "✗", name)


def _images(user: str, record: Record) -> Images:
    images: Images = {}
    for file in record.files:
        if file.user == user:
            images.setdefault(file.clean or file.file, {})[file.attack] = file
    return images


def _faces(user: str, code: str, record: Record, folder: Path) -> str:
    """Original, fingerprinted and difference of every image of a user."""
    eights = " ".join(code[i : i + 8] for i in range(0, len(code), 8))
    title = f"<h3>{escape(user)} <code class='code' title='code of this user'>{eights}</code></h3>"
    return f"{title}<div class='triptychs'>{''.join(_triptychs(user, record, folder))}</div>"


def _triptychs(user: str, record: Record, folder: Path) -> Iterator[str]:
    for image, files in _images(user, record).items():
        file = files.get(CLEAN)
        if file is None or file.plain is None or file.verdict == "unreadable":
            continue
        name = f"{user}, image {_stem(image)}"
        psnr = "" if file.psnr is None else f" · PSNR {file.psnr:.1f} dB"
        plain, marked = (read_image(folder / path, size=None) for path in (file.plain, file.file))
        panels = {
            "original": picture(plain, alt=f"{name}, original"),
            "fingerprinted": picture(marked, alt=f"{name}, fingerprinted"),
            "difference × 10": picture(difference(marked, plain), alt=f"{name}, difference times ten"),
        }
        caption = f"<figcaption>{escape(_stem(image))}{psnr}</figcaption>"
        yield f"<figure>{side_by_side(panels)}{caption}</figure>"


def _attacks(user: str, record: Record, folder: Path) -> str:
    """The table of a user: a row for every image, a column for every attack, the verdict in the cell."""
    names = list(dict.fromkeys(file.attack for file in record.files if file.user is not None))
    rows = (
        [escape(_stem(image)), *(_cell(files.get(name), folder) for name in names)]
        for image, files in _images(user, record).items()
    )
    titles = ["", *(escape(_attack(name)) for name in names)]
    return f"<h3>{escape(user)}</h3>{table(titles, rows, kind='attacks', named=True)}"


def _cell(file: File | None, folder: Path) -> str:
    if file is None:
        return "<span class='absent'>–</span>"
    return f"{_shown(file, folder)}{_verdict(file)}<small>{match(file).replace(', ', '<br>')}</small>"


def _shown(file: File, folder: Path) -> str:
    alt = f"{file.user or file.source}, image {_stem(file.file)}, {_attack(file.attack)}"
    try:
        return picture(read_image(folder / file.file, size=None), alt=alt)
    except UnreadableImage:
        if file.verdict != "unreadable":
            raise
        return f"<span class='unseen' role='img' aria-label='{escape(alt)}'>no image</span>"


def _strips(user: str, place: int, record: Record) -> str:
    """The bit confidence of every file of a user; attacked ones are folded away, save the first user's."""
    read = [file for file in record.files if file.user == user and file.confidence]
    clean = [_strip(file, record.users[user]) for file in read if file.attack == CLEAN]
    attacked = [_strip(file, record.users[user]) for file in read if file.attack != CLEAN]
    shown = f"<h3>{escape(user)}</h3>{_strip_table(clean)}"
    if not attacked:
        return shown
    summary = f"{escape(user)} after the attacks: {count(len(attacked), 'file')}"
    fold = "<details>" if place else "<details open>"
    return f"{shown}{fold}<summary>{summary}</summary>{_strip_table(attacked)}</details>"


def _strip(file: File, code: str) -> list[str]:
    wrong = "" if file.wrong_bits is None else f"{file.wrong_bits} wrong"
    name = _stem(file.clean or file.file) + ("" if file.attack == CLEAN else f", {file.attack}")
    label = f"confidence of the bits of {file.user}, image {name}: {wrong}"
    return [escape(name), strip(file.confidence or [], code, label=label), wrong]


def _strip_table(rows: list[list[str]]) -> str:
    return table((), rows, kind="strips", named=True) if rows else ""


def _negatives(record: Record, folder: Path) -> str:
    """The files that no user's copy made, by source, with the user who fits best by chance."""
    parts = []
    for row in record.negatives:
        files = [file for file in record.files if file.user is None and file.source == row.source]
        parts.append(f"<h3>{escape(row.source)}: {row.accused} of {count(row.files, 'file')} accused</h3>")
        parts.append(f"<div class='strangers'>{''.join(_stranger(file, folder) for file in files)}</div>")
    return "".join(parts)


def _stranger(file: File, folder: Path) -> str:
    name = escape(_stem(file.file) if file.attack == CLEAN else f"{_stem(file.file)}, {file.attack}")
    label = f"confidence of the bits of {file.source} {_stem(file.file)}"
    bits = strip(file.confidence, None, label=label) if file.confidence else ""
    return (
        f"<figure>{_shown(file, folder)}<figcaption>{name}<br>{_verdict(file)}<br>"
        f"<small>best match {match(file) or 'unknown'}</small>{bits}</figcaption></figure>"
    )


def _counts(record: Record) -> Iterator[list[str]]:
    """Of every attack how many files named their user, and how many bits were right."""
    for row in record.accuracy:
        named = [file.named for file in record.files if file.user is not None and file.attack == row.attack]
        low, high = row.interval
        interval = f"{100 * low:.0f} … {100 * high:.0f} %"
        label = f"{row.correct} of {row.files}, interval {interval}"
        yield [
            escape(_attack(row.attack)),
            str(row.files),
            f"<b>{row.correct}</b>",
            str(row.files - row.correct - named.count(None)),
            str(named.count(None)),
            whisker(row.correct / row.files, row.interval, label=label),
            interval,
            f"{row.all_bits} of {row.files}",
            f"{100 * row.bit_accuracy:.1f} %",
        ]


def _axes(record: Record) -> str:
    """The spread of the latent along every principal axis, and where the fingerprint lies."""
    it = record.settings
    place = f"axes {it.shift} to {it.shift + it.bits - 1}"
    label = f"standard deviations of {len(record.stds)} axes; the fingerprint lies on {place}"
    drawing = spectrum(record.stds, shift=it.shift, bits=it.bits, sigma=it.sigma, label=label)
    return f"<div class='wide'>{drawing}</div>"


def _attack(name: str) -> str:
    return "no attack" if name == CLEAN else name


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0] or path
