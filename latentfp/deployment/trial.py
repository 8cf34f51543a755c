"""A decoder on trial, before it is adopted: what descents make of its readings of undamaged images.

Descents begin where a decoder reads and believe the damage that it states, also those that begin elsewhere.
So one that was trained too briefly, which sees damage where there is none, leaves the default method worse
off than no decoder would. The images are the deployment's own, as files hold them.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from latentfp import rng
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.membership import explained
from latentfp.choices import Method
from latentfp.deployment import decoders
from latentfp.deployment.deployment import Deployment, load_generator
from latentfp.deployment.methods import Budget, make_estimator, subject_in
from latentfp.deployment.own import own
from latentfp.pixels import to_float
from latentfp.runtime.progress import progress

IMAGES = 16


class Trial(NamedTuple):
    """Of so many images: shares of bits in 0 … 1 that are right, and how many images a descent explains."""

    images: int
    read: float  # by the decoder
    descended: float  # after a descent from there
    explained: int  # as undamaged, to within rounding

    @property
    def passed(self) -> bool:
        """Whether descents from its readings explain at least half of the images."""
        return 2 * self.explained >= self.images

    def __str__(self) -> str:
        return (
            f"{100 * self.read:.1f} % of bits read right, {100 * self.descended:.1f} % after a descent, "
            f"which explains {self.explained} of {self.images} undamaged images"
        )


def try_out(opened: Deployment, trained: TrainedDecoder, *, images: int = IMAGES, seed: int = 0) -> Trial:
    """The trial, with progress. ValueError where no descent can follow: the basis holds leading axes only."""
    loaded, root = load_generator(opened), rng.root(seed)
    subject = subject_in(opened, loaded)
    key = rng.stream(root, "trial/search")
    reading, descent = (
        make_estimator(subject, trained, method, key=key, budget=Budget())
        for method in (Method.DECODER, Method.REFINE)
    )
    made = own(opened, loaded, images=images, seed=seed, key=rng.stream(root, "trial/images"))
    shown = to_float(made.issued.marked)
    with progress("trying the decoder", (reading.work + descent.work) * images) as advance:
        first, last = (estimator.run(shown, 0, advance) for estimator in (reading, descent))
    shares = (float((np.asarray(found.estimate.code) == made.codes).mean()) for found in (first, last))
    return Trial(images, *shares, explained=int(explained(last).sum()))


def passed(opened: Deployment, folder: Path) -> Trial:
    """The trial of the decoder in `folder`. ValueError if it misleads descents, and as by `decoders.load`."""
    trial = try_out(opened, decoders.load(folder, opened))
    if not trial.passed:
        raise ValueError(
            f"the decoder in {folder} misleads: {trial}. Train it for longer; without one, files are "
            "searched from several starts (--untested adopts it all the same)"
        )
    return trial
