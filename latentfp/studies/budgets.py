"""The paper's search with another budget."""

from latentfp.attribution import reference
from latentfp.attribution.reference import Settings


def search_of(*, starts: int, steps: int) -> Settings:
    """The search with so many starts and steps, whose learning rate falls as far as in the paper's 2000."""
    usual = reference.STYLEGAN2
    return usual._replace(starts=starts, steps=steps, decay=usual.decay * usual.steps / steps)
