"""The paper's search with another budget."""

from latentfp.attribution import reference
from latentfp.generators.generator import Generator


def search_of(generator: Generator, *, starts: int, steps: int) -> reference.Settings:
    """The search with so many starts and steps, whose learning rate falls as far as in the paper's 2000."""
    usual = reference.usual(generator)
    return usual._replace(starts=starts, steps=steps, decay=usual.decay * usual.steps / steps)
