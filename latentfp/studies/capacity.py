"""How many users a deployment can tell apart, clean and under every attack of the named suites.

Every file is made with a fair random code of its own, saved, attacked, saved and read, usually by a decoder
and a descent. Its own user would be named among N where 1 - (1 - P)^N ≤ alpha, P the exact chance that a
random code scores as well (attribution/evidence.py): so one reading gives the share of named files for every
N at once, without a registry. That another of the N scores better has a chance below alpha then.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from latentfp.attribution.evidence import Soft, chance, family_wise, score, tempered
from latentfp.attribution.membership import explained
from latentfp.attribution.together import pool
from latentfp.choices import Method
from latentfp.pixels import to_float
from latentfp.quality.pixels import psnr
from latentfp.studies import readings
from latentfp.studies.context import (
    Context,
    attack_of,
    attacked_files,
    attacks_of,
    identity,
    issued,
    open_context,
)
from latentfp.studies.experiment import Experiment
from latentfp.studies.readings import Readings
from latentfp.studies.statistics import binomial_interval

COMPARED = 32  # images with and without a code


class Settings(NamedTuple):
    """`images` of every attack of the `suites`, the sizes of registries, and the family-wise rate; `files` of
    one code are judged together, each read by the `method`; `content`: photographs, of an autoencoder."""

    deployment: str
    suites: Sequence[str]
    images: int
    users: Sequence[int]
    alpha: float
    files: int = 1
    method: str = "refine"
    content: str = ""


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The generator's name, the length of a code, PSNR of images with a code to those without, in dB, and
    `rows`: the `rates` of every attack."""
    context = open_context(settings.deployment, seed=experiment.seed, content=settings.content)
    if settings.files < 1 or settings.images % settings.files:
        raise ValueError(f"{settings.images} images are no whole number of cases of {settings.files} files")
    cells, method = attacks_of(settings.suites), Method(settings.method)

    def read_part(cell: str, first: int, n: int) -> Readings:
        codes = codes_of(context, settings, first + n)[first:].repeat(context.opened.manifest.repeats, axis=1)
        shown = attacked_files(context, codes, attack_of(*cells[cell]), first=first)
        return readings.read(context, method, shown, label=cell, decided=explained, first=first)

    counts = dict.fromkeys(cells, settings.images)
    belongs = identity(context) | ({} if settings.files == 1 else {"files": settings.files})
    belongs |= {} if method is Method.REFINE else {"method": method.value}
    found = readings.measured(experiment, counts, read_part, belongs=belongs)
    codes = codes_of(context, settings, settings.images)
    rows = []
    for name, read in found.items():
        alone = settings.files == 1
        soft = read.final if alone else tempered(read.final, read.at_last(read.tempers))
        rows.append({"suite": cells[name][0], "attack": cells[name][1], **rates(soft, codes, settings)})
    facts = {"generator": context.opened.manifest.generator.name, "bits": context.subject.bits}
    return {**facts, "psnr": visible(context, codes[: settings.images : settings.files]), "rows": rows}


def visible(context: Context, codes: Bool[np.ndarray, "n k"]) -> float:
    """The median PSNR, in dB, of up to COMPARED images with their codes to the same ones without."""
    some = codes[:COMPARED].repeat(context.opened.manifest.repeats, axis=1)
    both = issued(context.subject, some, seed=context.seed)
    return float(np.median(jax.vmap(psnr)(to_float(both.marked), to_float(both.plain))))


def codes_of(context: Context, settings: Settings, n: int) -> Bool[np.ndarray, "n k"]:
    """Fair random codes of the first files, one for each case; file i has the same one for every n."""
    message = context.subject.bits // context.opened.manifest.repeats
    randoms = (np.random.default_rng([context.seed, i]) for i in range(-(-n // settings.files)))
    codes = np.stack([random.integers(2, size=message) for random in randoms]).astype(bool)
    return codes.repeat(settings.files, axis=0)[:n]


def pooled(soft: Soft, *, files: int) -> Soft:
    """Of every so many files what they say together."""
    if files == 1:
        return soft
    cases = soft.reshape(-1, files, soft.shape[1])
    return np.concatenate([pool(case, None, np.zeros(files, bool)).soft for case in cases])


def rates(soft: Soft, codes: Bool[np.ndarray, "n k"], settings: Settings) -> dict[str, Any]:
    """Share of right bits, and how many cases of so many `files` would be named among each number of `users`.

    With their share and its exact 95 % interval.
    """
    soft, codes = pooled(soft, files=settings.files), codes[:: settings.files]
    alone: Float[np.ndarray, " n"] = chance(soft, score(soft, codes))
    named, n = [], len(soft)
    for users in settings.users:
        files = int((family_wise(alone, users=users) <= settings.alpha).sum())
        interval = binomial_interval(files, n)
        named.append({"users": users, "files": files, "share": files / n, "interval": interval})
    return {"images": n, "bit_accuracy": float(((soft > 0) == codes).mean()), "named": named}
