"""The sections of the page that show image files: one function each, from the record to HTML."""

from collections.abc import Iterable
from html import escape

from latentfp.data.files import UnreadableImage
from latentfp.report.figures import strip
from latentfp.report.pictures import Album
from latentfp.report.record import File, Report, User
from latentfp.report.wording import CLEAN, count, match

Images = dict[str, dict[str, File]]  # image -> attack -> file


def faces(report: Report, album: Album) -> str:
    """Original, fingerprinted and difference of every image of every user."""
    return "".join(
        f"{_user(user)}<div class='triptychs'>{''.join(_triptychs(user, report, album))}</div>"
        for user in report.users
    )


def attacks(report: Report, album: Album) -> str:
    """One table a user: a row for every image, a column for every attack, the verdict in the cell."""
    names = list(dict.fromkeys(file.attack for file in report.files if file.user is not None))
    head = "".join(f"<th scope='col'>{escape(_attack(name))}</th>" for name in names)
    return "".join(
        f"<h3>{escape(user.name)}</h3><div class='wide'><table class='attacks'>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(_rows(user, report, names, album))}</tbody>"
        "</table></div>"
        for user in report.users
    )


def strips(report: Report) -> str:
    """The bit confidence of every file of a user; attacked ones are folded away, save the first user's."""
    parts = []
    for i, user in enumerate(report.users):
        read = [file for file in report.files if file.user == user.name and file.confidence]
        clean = [_strip_row(file, user) for file in read if file.attack == CLEAN]
        attacked = [_strip_row(file, user) for file in read if file.attack != CLEAN]
        parts.append(f"<h3>{escape(user.name)}</h3>{_strip_table(clean)}")
        if attacked:
            summary = f"{escape(user.name)} after the attacks: {count(len(attacked), 'file')}"
            fold = "<details>" if i else "<details open>"
            parts.append(f"{fold}<summary>{summary}</summary>{_strip_table(attacked)}</details>")
    return "".join(parts)


def negatives(report: Report, album: Album) -> str:
    """The files that no user's copy made, by source, with the user who fits best by chance."""
    strangers: dict[str, list[File]] = {}
    for file in report.files:
        if file.user is None:
            strangers.setdefault(file.source, []).append(file)
    parts = []
    for source, files in strangers.items():
        accused = sum(file.named is not None for file in files)
        parts.append(f"<h3>{escape(source)}: {accused} of {count(len(files), 'file')} accused</h3>")
        parts.append(f"<div class='strangers'>{''.join(_stranger(file, album) for file in files)}</div>")
    return "".join(parts) or "<p>None were attributed.</p>"


def badge(file: File) -> str:
    """The verdict as a mark, a word and a colour: right, wrong, missed or unreadable."""
    if file.verdict == "unreadable":
        return _badge("unreadable", "!", "not readable")
    name = file.named or "none"
    if file.correct:
        return _badge("right", "✓", name)
    return _badge("missed", "○", name) if file.named is None else _badge("wrong", "✗", name)


def _badge(kind: str, sign: str, words: str) -> str:
    return (
        f"<span class='badge {kind}' title='{kind}: {escape(words)}'><i aria-hidden='true'>{sign}</i>"
        f"<span class='spoken'>{kind}: </span>{escape(words)}</span>"
    )


def _user(user: User) -> str:
    eights = " ".join(user.code[i : i + 8] for i in range(0, len(user.code), 8))
    return f"<h3>{escape(user.name)} <code class='code' title='code of this user'>{eights}</code></h3>"


def _triptychs(user: User, report: Report, album: Album) -> Iterable[str]:
    for image, files in _images(user, report).items():
        file = files.get(CLEAN)
        if file is None or file.plain is None or file.verdict == "unreadable":
            continue
        name = f"{user.name}, image {_stem(image)}"
        psnr = "" if file.psnr is None else f" · PSNR {file.psnr:.1f} dB"
        panels = {
            "original": album.image(file.plain, alt=f"{name}, original"),
            "fingerprinted": album.image(file.file, alt=f"{name}, fingerprinted"),
            "difference × 10": album.difference(file.file, file.plain, alt=f"{name}, difference times ten"),
        }
        shown = "".join(f"<div>{img}<small>{caption}</small></div>" for caption, img in panels.items())
        caption = f"<figcaption>{escape(_stem(image))}{psnr}</figcaption>"
        yield f"<figure><div class='three'>{shown}</div>{caption}</figure>"


def _rows(user: User, report: Report, attacks: list[str], album: Album) -> Iterable[str]:
    for image, files in _images(user, report).items():
        cells = "".join(f"<td>{_cell(files.get(attack), album)}</td>" for attack in attacks)
        yield f"<tr><th scope='row'>{escape(_stem(image))}</th>{cells}</tr>"


def _cell(file: File | None, album: Album) -> str:
    if file is None:
        return "<span class='absent'>–</span>"
    return f"{_shown(file, album)}{badge(file)}<small>{match(file).replace(', ', '<br>')}</small>"


def _shown(file: File, album: Album) -> str:
    alt = f"{file.user or file.source}, image {_stem(file.file)}, {_attack(file.attack)}"
    try:
        return album.image(file.file, alt=alt)
    except UnreadableImage:
        if file.verdict != "unreadable":
            raise
        return f"<span class='unseen' role='img' aria-label='{escape(alt)}'>no image</span>"


def _stranger(file: File, album: Album) -> str:
    name = escape(_stem(file.file) if file.attack == CLEAN else f"{_stem(file.file)}, {file.attack}")
    label = f"confidence of the bits of {file.source} {_stem(file.file)}"
    bits = strip(file.confidence, None, label=label) if file.confidence else ""
    return (
        f"<figure>{_shown(file, album)}<figcaption>{name}<br>{badge(file)}<br>"
        f"<small>best match {match(file) or 'unknown'}</small>{bits}</figcaption></figure>"
    )


def _strip_row(file: File, user: User) -> str:
    wrong = "" if file.wrong_bits is None else f"{file.wrong_bits} wrong"
    name = _stem(file.clean or file.file) + ("" if file.attack == CLEAN else f", {file.attack}")
    label = f"confidence of the bits of {user.name}, image {name}: {wrong}"
    drawing = strip(file.confidence or [], user.code, label=label)
    return f"<tr><th scope='row'>{escape(name)}</th><td>{drawing}</td><td class='number'>{wrong}</td></tr>"


def _strip_table(rows: list[str]) -> str:
    return f"<div class='wide'><table class='strips'>{''.join(rows)}</table></div>" if rows else ""


def _images(user: User, report: Report) -> Images:
    images: Images = {}
    for file in report.files:
        if file.user == user.name:
            images.setdefault(file.clean or file.file, {})[file.attack] = file
    return images


def _attack(name: str) -> str:
    return "no attack" if name == CLEAN else name


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0] or path
