"""What images of registered copies look like to a fit: how well they are explained, and how badly their codes
are read, so that a fit which is unlike them may clear everyone.

Two statistics of an image: the residual of the last stage that it runs unless it is explained before, in
units of the errors that are expected after the inferred noise (its *misfit*); and the miss p-value
(evidence.py) of its own code. The null are those of n images of the deployment's copies, undamaged and
damaged. If an image is one of these,

    p = (1 + how many of the null are as extreme) / (n + 1)

is at most any t with a chance of at most t, whatever their distribution, because its rank among them is
uniform (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World, §2). An image with damage that
none of the null has may be taken for foreign; a foreign image behind heavy damage fits well, too.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp.attribution.estimate import Answer, Status, is_reading
from latentfp.attribution.observation import ROUNDING, is_damaged
from latentfp.attribution.refine import SOLVED, WRITTEN
from latentfp.attribution.verdict import CLEARED
from latentfp.augment import damage
from latentfp.choices import Stage

FEW = 1 / 8  # of the bits of a code

Misfits = Float[np.ndarray, " n"]


class Null(NamedTuple):
    """Of a deployment's own images the sorted misfits and miss p-values, and the last stage that they could
    run."""

    misfits: Float[np.ndarray, " own"]
    misses: Float[np.ndarray, " own"]
    last: Stage

    @property
    def limit(self) -> float:
        """The miss p-value below which an image is unlike all but a share CLEARED of the null; 0 where there
        are too few."""
        rank = int(CLEARED * (len(self.misses) + 1))
        return float(self.misses[rank - 1]) if rank else 0.0

    def p_values(self, answer: Answer) -> Float[np.ndarray, " n"]:
        """Of each image's misfit, in 1 / (n + 1) … 1; NaN where it stopped earlier."""
        ended = explained(answer) | (np.asarray(answer.stage) == self.last)
        return np.where(ended, self.membership(misfits(answer)), np.nan)

    def membership(self, found: Misfits) -> Float[np.ndarray, " n"]:
        """The p-values of misfits."""
        own = len(self.misfits)
        return (1 + own - np.searchsorted(self.misfits, found, side="left")) / (own + 1)


def misfits(answer: Answer) -> Misfits:
    """√mean z²; of images that were compared as undamaged relative to rounding and the inferred noise.

    Infinite where the estimate failed.
    """
    noise = np.asarray(damage.from_coordinates(answer.distortion.T).noise)
    loose = np.where(is_damaged(answer.distortion), 1, np.sqrt(1 + np.square(noise / ROUNDING)))
    found = np.asarray(answer.estimate.loss / loose, np.float64)
    return np.where(np.isnan(found), np.inf, found)


def limits(answer: Answer, null: Null | None = None) -> Float[np.ndarray, " n"]:
    """The miss p-value below which what is read of an image clears everyone; 0 where nothing does, as where a
    part of it was left out.

    An image that is explained as undamaged has ratios that mean what they say; of others the `null` knows,
    where there is one. The images of copies that were averaged are explained, too: where their codes agree
    the levels are -1 or 1, elsewhere they lie between, and the signs there are nobody's.
    """
    written = np.mean(np.abs(np.asarray(answer.estimate.levels)) > WRITTEN, axis=1)
    mixed = (written > FEW) & (written < 1 - FEW)
    known = 0.0 if null is None else np.where(np.asarray(answer.stage) == null.last, null.limit, 0.0)
    return np.where(mixed | answer.hidden.any(axis=(1, 2)), 0.0, np.where(explained(answer), CLEARED, known))


def explained(answer: Answer) -> Bool[np.ndarray, " n"]:
    """Whether a descent explains a whole image as an undamaged one of the generator to within rounding."""
    solved = np.asarray(answer.estimate.loss) < SOLVED
    failed = np.asarray(answer.estimate.status) != Status.OK
    whole = ~answer.hidden.any(axis=(1, 2))
    return solved & whole & ~is_reading(answer) & ~is_damaged(answer.distortion) & ~failed
