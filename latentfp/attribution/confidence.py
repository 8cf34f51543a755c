"""How far the ratios of an answer may be believed: by what they are divided so that they mean what they say.

A descent knows how precisely an image determines its code near where it ended, not that it ended beside the
best place. But that shows: much is left over of the image, the bits' coordinates lie near no level, and the
damage that is assumed is heavy. From these FEATURES of an image, their squares and products, which are the
terms x, follows its *temper*

    t = max(1, 1 / ln(1 + exp(w · x)))

and ratios divided by t are believed: in the miss p-value, the likelihood ratio, and where files are judged
together. The score of a code against one file has no need of it, for a factor changes nobody's rank.

The weights w in confidence.json maximise the likelihood of the codes of damaged images of the embedded
generators (configs/studies/confidence.py, with what that does to kinds of damage and to a generator that took
no part).
"""

import functools
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from latentfp.attribution.estimate import Answer
from latentfp.attribution.membership import explained, misfits
from latentfp.attribution.orientation import UPRIGHT
from latentfp.augment import damage
from latentfp.choices import Stage

FEATURES = (
    "unexplained",
    "explained too well",
    "level",
    "binary",
    "blur",
    "noise",
    "jpeg",
    "scale",
    "moved",
)
PAIRS = np.triu_indices(len(FEATURES))
TERMS = ("1", *FEATURES, *(f"{FEATURES[i]} * {FEATURES[j]}" for i, j in zip(*PAIRS, strict=True)))

Features = Float[np.ndarray, "n f"]
Weights = Float[np.ndarray, " w"]


def tempers(found: Answer) -> Float[np.ndarray, " n"]:
    """By what the ratios of answers are divided, at least 1. Of what no descent found: by the square of the
    misfit, as if errors had been taken for too small.

    1 where an undamaged image is explained to within rounding: then bits are known, and levels that are none
    tell an image without a code, not a bad fit.
    """
    descended = (found.stage == Stage.REFINE) | (found.stage == Stage.MULTISTART)
    trusted = np.where(explained(found), 1.0, trust(features(found), weights()))
    return np.maximum(1.0, np.where(descended, 1 / trusted, np.square(misfits(found))))


@functools.cache
def weights() -> Weights:
    """Those of the package, in the order of TERMS."""
    known = json.loads(Path(__file__).with_suffix(".json").read_text())
    return np.array([known[term] for term in TERMS])


def trust(seen: Features, by: Weights) -> Float[np.ndarray, " n"]:
    """What ratios are multiplied with, above 0, before it is limited to 1."""
    return np.logaddexp(0, terms(seen) @ by)


def terms(seen: Features) -> Float[np.ndarray, "n w"]:
    """1, the features, their squares and products."""
    one = np.ones((len(seen), 1))
    return np.concatenate([one, seen, seen[:, PAIRS[0]] * seen[:, PAIRS[1]]], axis=1)


def features(found: Answer) -> Features:
    """What tells good fits from bad ones, in the order of FEATURES; all bounded."""
    left = np.log(np.maximum(misfits(found), 1e-3))
    known = damage.from_coordinates(np.asarray(found.distortion, np.float64).T)
    levels = np.abs(np.asarray(found.estimate.levels, np.float64))
    mean, spread = levels.mean(axis=1), np.sqrt(np.square(levels).mean(axis=1))
    columns = {
        "unexplained": np.clip(left, 0, 3),
        "explained too well": np.clip(-left, 0, 1.2),
        "level": np.clip(np.log(np.maximum(mean, 1e-3)), -2, 0.5),
        "binary": mean / np.maximum(spread, 1e-9),  # 1 where all lie equally far out, 0.8 of normal ones
        "blur": np.minimum(np.log1p(known.blur), 2),
        "noise": np.minimum(np.log1p(np.asarray(known.noise) * 127.5), 4),
        "jpeg": 1 - np.asarray(known.quality) / 100,
        "scale": np.minimum(np.abs(np.log(known.scale)), 1.5),
        "moved": (found.orientation != UPRIGHT) | found.hidden.any(axis=(1, 2)),
    }
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float64)
