"""Several files of one origin, judged together: their log-likelihood ratios add up.

Files of one copy bear one code, and readings err image by image; so of each bit the ratios are added, and the
score of a code against the sums has a chance as exact as against one file's (evidence.py): nothing is assumed
of the readings but that codes were drawn without them.

Which files count is decided by the readings alone, before any code is looked at, so it costs nothing in the
p-value. Files that show one image count once, by the one that says most: two whose contents, of r numbers,
have a cosine above SAME and CHANCE / √r. Of the rest a file contradicts the others where its ratios q and the
sum t of theirs, limited to SURE, speak for different codes,

    Σ_i ln(1 + tanh(q_i / 2) tanh(t_i / 2)) < AGAINST,

the likelihood ratio of one code against two that have nothing to do with each other. The file with the least
is left out, until none contradicts. The three numbers were chosen on damaged samples of the embedded
generator.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from latentfp.attribution.evidence import STEP, Soft

SAME = 0.5
CHANCE = 3.5  # standard deviations of the cosine of two contents that have nothing to do with each other
SURE = 2.0  # of a ratio where files are compared: few are as sure of a bit as they say
AGAINST = -4.0  # of the log of the likelihood ratio
MOST = 127  # of a sum, in units of STEP

Contents = Float[np.ndarray, "n r"]


class Pooled(NamedTuple):
    """The sums of ratios, one row of them, limited to MOST; which files count; and which other file shows the
    same image as one that does not count for that, else -1."""

    soft: Int8[np.ndarray, "1 k"]
    counts: Bool[np.ndarray, " n"]
    same_as: Int[np.ndarray, " n"]


def pool(soft: Soft, contents: Contents | None, failed: Bool[np.ndarray, " n"]) -> Pooled:
    """What files of one origin say together; `contents` in their own standard deviations, None where all are
    known to be of different images."""
    same_as = np.full(len(soft), -1) if contents is None else one_image(soft, contents)
    counts = agreeing(soft, ~failed & (same_as < 0))
    total = soft[counts].sum(axis=0, dtype=int)
    return Pooled(np.clip(total, -MOST, MOST).astype(np.int8)[None], counts, same_as)


def one_image(soft: Soft, contents: Contents) -> Int[np.ndarray, " n"]:
    """For every file the surer one that shows the same image, or -1."""
    limit = max(SAME, CHANCE / np.sqrt(max(1, contents.shape[1])))
    unit = contents / np.maximum(np.linalg.norm(contents, axis=1, keepdims=True), 1e-12)
    order = np.argsort(-np.square(soft.astype(int)).sum(axis=1), kind="stable")
    found = np.full(len(soft), -1)
    kept: list[int] = []
    for file in order.tolist():
        alike = unit[kept] @ unit[file]
        if len(kept) and alike.max() > limit:
            found[file] = kept[int(alike.argmax())]
        else:
            kept.append(file)
    return found


def agreeing(soft: Soft, candidates: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which of the candidates contradict nothing."""
    counts = candidates.copy()
    while counts.sum() > 1:
        rows = np.flatnonzero(counts)
        ratios = soft[rows].astype(int)
        agreement = one_code(ratios, ratios.sum(axis=0) - ratios)
        least = int(agreement.argmin())
        if agreement[least] >= AGAINST:
            break
        counts[rows[least]] = False
    return counts


def one_code(a: Int[np.ndarray, "n k"], b: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """ln of the likelihood ratio that two readings, in units of STEP, are of one code and not of two."""
    one, other = (np.tanh(np.clip(STEP * it, -SURE, SURE) / 2) for it in (a, b))
    return np.log1p(one * other).sum(axis=1)
