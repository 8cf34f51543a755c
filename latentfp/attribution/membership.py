"""Whether an image is one of this generator's at all: how well it is explained, against images that are.

The statistic is the residual of the last stage that an image runs unless it is explained before, in units of
the errors that are expected after the inferred noise. The null are the statistics of n images of the
generator, marked and unmarked, undamaged and damaged. If an image is one of these,

    p = (1 + how many of the null are as large) / (n + 1)

is at most any t with a chance of at most t, whatever their distribution, because its rank among them is
uniform (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World, §2). An image with damage that
none of the null has may be taken for foreign; a foreign image behind heavy damage fits well, too.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentfp.attribution.estimate import Answer, Status, is_reading
from latentfp.attribution.observation import ROUNDING, is_damaged
from latentfp.attribution.refine import SOLVED
from latentfp.augment import damage
from latentfp.choices import Stage

WRITTEN = 0.5  # level from which a bit counts as written; the two levels of a bit are -1 and 1
FEW = 1 / 8  # of the bits of a code

Residuals = Float[np.ndarray, " n"]


class Null(NamedTuple):
    """Sorted residuals of the generator's own images, and the last stage that they could run."""

    residuals: Float[np.ndarray, " own"]
    last: Stage

    def p_values(self, answer: Answer) -> Float[np.ndarray, " n"]:
        """Of each image as one of the generator's, in 1 / (n + 1) … 1; NaN where it stopped earlier."""
        own = len(self.residuals)
        larger = own - np.searchsorted(self.residuals, residuals(answer), side="left")
        ended = explained(answer) | (np.asarray(answer.stage) == self.last)
        return np.where(ended, (1 + larger) / (own + 1), np.nan)


def residuals(answer: Answer) -> Residuals:
    """√mean z²; of images that were compared as undamaged relative to rounding and the inferred noise.

    Infinite where the estimate failed.
    """
    noise = np.asarray(damage.from_coordinates(answer.distortion.T).noise)
    loose = np.where(is_damaged(answer.distortion), 1, np.sqrt(1 + np.square(noise / ROUNDING)))
    found = np.asarray(answer.estimate.loss / loose, np.float64)
    return np.where(np.isnan(found), np.inf, found)


def clears(answer: Answer) -> Bool[np.ndarray, " n"]:
    """Whether what is read of an image may clear everyone: it is explained, and by one code or by none.

    The images of copies that were averaged are explained, too. Where their codes agree the levels are -1 or
    1, elsewhere they lie between, and the signs there are nobody's.
    """
    written = np.mean(np.abs(np.asarray(answer.estimate.levels)) > WRITTEN, axis=1)
    mixed = (written > FEW) & (written < 1 - FEW)
    return explained(answer) & ~mixed


def explained(answer: Answer) -> Bool[np.ndarray, " n"]:
    """Whether a descent explains an image as an undamaged one of the generator to within rounding."""
    solved = np.asarray(answer.estimate.loss) < SOLVED
    failed = np.asarray(answer.estimate.status) != Status.OK
    return solved & ~is_reading(answer) & ~is_damaged(answer.distortion) & ~failed
