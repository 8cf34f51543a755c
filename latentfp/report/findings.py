"""The sections of the page that count: accuracy under every attack, and the spectrum of the latent."""

from html import escape

from latentfp.report.figures import spectrum, whisker
from latentfp.report.record import Accuracy, Report
from latentfp.report.wording import CLEAN

HEADS = (
    "attack",
    "files",
    "right user",
    "wrong user",
    "nobody",
    "",
    "95 % interval",
    "all bits right",
    "bits right",
)


def accuracy(report: Report) -> str:
    """One row an attack: how many files named their user, and how many bits were right."""
    head = "".join(f"<th scope='col'>{text}</th>" for text in HEADS)
    rows = "".join(_row(row, report) for row in report.accuracy)
    table = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f"<div class='wide'><table class='accuracy'>{table}</table></div>"


def axes(report: Report) -> str:
    """The spread of the latent along every principal axis, and where the fingerprint lies."""
    it = report.spectrum
    last = it.shift + it.bits - 1
    label = f"standard deviations of {len(it.stds)} axes; the fingerprint lies on axes {it.shift} to {last}"
    drawing = spectrum(it.stds, shift=it.shift, bits=it.bits, sigma=it.sigma, label=label)
    return f"<div class='wide'>{drawing}</div>"


def _row(row: Accuracy, report: Report) -> str:
    named = [file.named for file in report.files if file.user is not None and file.attack == row.attack]
    nobody = named.count(None)
    low, high = row.interval
    interval = f"{100 * low:.0f} … {100 * high:.0f} %"
    share = row.correct / row.files if row.files else 0.0
    cells = (
        str(row.files),
        f"<b>{row.correct}</b>",
        str(row.files - row.correct - nobody),
        str(nobody),
        whisker(share, row.interval, label=f"{row.correct} of {row.files}, interval {interval}"),
        interval,
        f"{row.all_bits} of {row.files}",
        f"{100 * row.bit_accuracy:.1f} %",
    )
    name = escape("no attack" if row.attack == CLEAN else row.attack)
    return f"<tr><th scope='row'>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
