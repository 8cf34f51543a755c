"""The paper's search with another budget."""

from latentfp.attribution.reference import Settings
from latentfp.deployment.methods import usual_search
from latentfp.generators.generator import Generator


def search_of(generator: Generator, *, starts: int, steps: int) -> Settings:
    """The search with so many starts and steps, whose learning rate falls as far as in the paper's 2000."""
    usual = usual_search(generator)
    return usual._replace(starts=starts, steps=steps, decay=usual.decay * usual.steps / steps)
