"""The page of a demonstration: one HTML file that needs nothing else, made of report.json and its images.

Images are inside as data URIs, drawings as SVG, the style sheet in the head; nothing is fetched and nothing
runs (the page forbids both to the browser). It follows light and dark, and prints.
"""

from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from latentfp.report import findings, sections, wording
from latentfp.report.pictures import Album
from latentfp.report.record import Report, read_report

NAME = "report.html"


def write_page(folder: Path) -> Path:
    """Write report.html beside report.json in `folder`, and return its path.

    ValueError, in one line, where the record is incomplete or contradicts itself, or an image file that was
    attributed cannot be read.
    """
    report = read_report(folder)
    page = folder / NAME
    page.write_text(render(report, Album(folder)), encoding="utf-8", errors="backslashreplace")
    return page


def render(report: Report, album: Album) -> str:
    """The page as text, with every image of `album` that the record names."""
    spectrum, psnrs = report.spectrum, sorted(file.psnr for file in report.files if file.psnr is not None)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    terms = (f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in wording.settings(report))
    return filled(
        "page.html",
        title=escape(report.title),
        created=escape(report.created),
        command=escape(report.command),
        versions=escape(versions),
        headline=wording.headline(report),
        aftermath=wording.aftermath(report),
        settings="".join(terms),
        cost=wording.cost(report),
        psnr=f" Median PSNR {psnrs[len(psnrs) // 2]:.1f} dB." if psnrs else "",
        faces=sections.faces(report, album),
        attacks=sections.attacks(report, album),
        strips=sections.strips(report),
        negatives=sections.negatives(report, album),
        accuracy=findings.accuracy(report),
        axes=findings.axes(report),
        axis_count=len(spectrum.stds),
        bits=report.settings.bits,
        sigma=f"{spectrum.sigma:g}",
        users=report.settings.users,
        alpha=wording.power_of_ten(report.settings.alpha),
    )


def filled(template: str, *, title: str, **parts: Any) -> str:
    """A template of this folder with its parts, and the head that all pages share."""
    head = Template(_read("head.html")).substitute(title=title, style=_read("style.css"))
    return Template(_read(template)).substitute(head=head, title=title, **parts)


def _read(name: str) -> str:
    return files("latentfp.report").joinpath(name).read_text(encoding="utf-8")
