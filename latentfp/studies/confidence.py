"""How much the ratios of the default method mean what they say, and the weights of attribution/confidence.py
under which they mean most: those that maximise the likelihood of the codes, by images' factors alone.

Files of every attack are read by the default method, as for a user among USERS. The expected calibration
error of an attack is that of ratios limited as evidence.py limits them: as they are, by the weights of all
attacks, and by weights that have seen no attack of its kind (`held_out`: the first word of its name), as if
nobody had known of it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import expit

from latentfp.attribution.confidence import TERMS, Features, Weights, features, terms, trust
from latentfp.attribution.evidence import LIMIT
from latentfp.attribution.ranking import among_packed
from latentfp.choices import Method
from latentfp.fingerprint.codes import unpack
from latentfp.pixels import to_float
from latentfp.studies.context import (
    Context,
    answers,
    attack_of,
    attacked_files,
    attacks_of,
    identity,
    open_context,
    rule_of,
)
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.studies.identification import draw_book, owners
from latentfp.studies.statistics import calibration, reliability

USERS, ALPHA = 1000, 1e-6
RIDGE = 5.0  # what a squared weight costs, in nats of BITS bits
STEPS = 2000  # of the optimiser, at most
BITS = 8  # of an image that count as independent: they are right or wrong together
FOLDS = 8

Ratios = Float[np.ndarray, "n k"]
Codes = Bool[np.ndarray, "n k"]


class Settings(NamedTuple):
    """`images` of every attack of the `suites`, of each of the deployments."""

    deployments: Sequence[str]
    suites: Sequence[str]
    images: int


class Sample(NamedTuple):
    """Images of one deployment after one attack."""

    seen: Features
    ratios: Ratios
    codes: Codes


def measure(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """`weights`; `rows` by attack; and `unseen`, where a deployment had no part in the weights.

    ValueError for attacks that are all of one kind.
    """
    attacks = {attack: suite for suite, attack in attacks_of(settings.suites).values()}
    contexts = [open_context(name, seed=experiment.seed) for name in settings.deployments]
    cells = [(place, attack) for place in range(len(contexts)) for attack in attacks]
    samples: dict[tuple[int, str], Sample] = {}
    for place, context in enumerate(contexts):
        wanted = [{"attack": attack, "images": settings.images} for attack in attacks]
        rows = experiment.measured(
            wanted, lambda it, context=context: read(context, attacks, **it), belongs=identity(context)
        )
        samples |= {(place, it["attack"]): sample_of(row) for it, row in zip(wanted, rows, strict=True)}
    everything, kinds = [samples[cell] for cell in cells], [attack.split()[0].lower() for _, attack in cells]
    weights, held = fit(everything), held_out(everything, kinds)
    table = [
        {
            "deployment": settings.deployments[place],
            "attack": attack,
            "as_they_are": error(it.ratios, it.codes),
            "tempered": error(believed(it, weights), it.codes),
            "held_out": error(believed(it, other), it.codes),
            "likelihood": [likelihood(it.ratios, it.codes), likelihood(believed(it, other), it.codes)],
        }
        for (place, attack), it, other in zip(cells, everything, held, strict=True)
    ]
    unseen = []
    for place, name in enumerate(settings.deployments):
        others = [samples[cell] for cell in cells if cell[0] != place]
        if others:
            own = [samples[cell] for cell in cells if cell[0] == place]
            by = fit(others)
            pairs = [(likelihood(it.ratios, it.codes), likelihood(believed(it, by), it.codes)) for it in own]
            unseen.append({"deployment": name, "likelihood": np.mean(pairs, axis=0).tolist()})
    return {"weights": dict(zip(TERMS, weights.tolist(), strict=True)), "rows": table, "unseen": unseen}


def read(context: Context, attacks: dict[str, str], *, attack: str, images: int) -> Numbers:
    """What the default method answers, as JSON has it."""
    bits = context.subject.bits
    book = draw_book(USERS, bits=bits, seed=context.seed)
    codes = unpack(book[owners(images, users=USERS, seed=context.seed)], bits=bits)
    rule = rule_of(context, Method.AUTO, among_packed(book, bits=bits), alpha=ALPHA)
    shown = attacked_files(context, codes, attack_of(attacks[attack], attack))
    found = answers(context, Method.AUTO, to_float(shown), label=attack, decided=rule.suffices)
    ratios = np.clip(np.asarray(found.estimate.logits, np.float64), -LIMIT, LIMIT)
    return {"seen": features(found).tolist(), "ratios": ratios.tolist(), "codes": codes.tolist()}


def sample_of(row: Numbers) -> Sample:
    """A row of numbers as arrays."""
    return Sample(*(np.asarray(row[name]) for name in Sample._fields))


def fit(samples: Sequence[Sample]) -> Weights:
    """The weights under which the codes of these samples are most likely."""
    seen, ratios, codes = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    agreeing, known = np.where(codes, ratios, -ratios), terms(seen)

    def cost(weights: np.ndarray) -> tuple[float, np.ndarray]:
        exponents = -agreeing * np.minimum(1, trust(seen, weights))[:, None]
        unlikely = np.logaddexp(0, exponents).sum() / BITS
        inside = expit(known @ weights) * (trust(seen, weights) < 1)
        slope = -(agreeing * expit(exponents)).sum(axis=1) / BITS * inside
        penalty = np.concatenate([[0], weights[1:]])
        return unlikely + RIDGE * np.sum(penalty**2), slope @ known + 2 * RIDGE * penalty

    options = {"maxiter": STEPS}
    return minimize(cost, np.zeros(known.shape[1]), jac=True, method="L-BFGS-B", options=options).x


def held_out(samples: Sequence[Sample], kinds: Sequence[str]) -> list[Weights]:
    """For every sample weights of those of other kinds. ValueError where there is but one kind."""
    names = sorted(set(kinds))
    if len(names) < 2:
        raise ValueError(f"all attacks are of the kind {names[0]}: nothing is left where it is held out")
    fold = dict(zip(names, np.random.default_rng(0).permutation(len(names)) % FOLDS, strict=True))
    fitted = {
        number: fit([it for it, kind in zip(samples, kinds, strict=True) if fold[kind] != number])
        for number in set(fold.values())
    }
    return [fitted[fold[kind]] for kind in kinds]


def believed(it: Sample, weights: Weights) -> Ratios:
    """Ratios divided by their images' tempers."""
    return it.ratios * np.minimum(1, trust(it.seen, weights))[:, None]


def error(ratios: Ratios, codes: Codes) -> float:
    """The expected calibration error (statistics.py)."""
    return float(calibration([reliability(ratios, codes)])["expected_calibration_error"])


def likelihood(ratios: Ratios, codes: Codes) -> float:
    """The mean of -ln p of the true bits; ln 2 of what says nothing."""
    return float(np.logaddexp(0, np.where(codes, -ratios, ratios)).mean())
