"""What a user can do with the weights of exported copies: the two simplest attacks, measured.

Re-estimation: the affine layers of a copy all lose the span of the code's axes, so it is their common null
space; and whoever can sample latents can compute principal axes, and with them the axes of the bits, unless
a secret has turned those. Averaging: two users take the mean of their copies' weights, and both marks fade
where they differ.
Source: docs/security.md.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution.ranking import among
from latentfp.attribution.verdict import judge
from latentfp.choices import Method
from latentfp.deployment.copies import folded
from latentfp.deployment.fitting import USUAL, Sampling, sample_basis
from latentfp.fingerprint.codes import CodeBook, draw_codes
from latentfp.fingerprint.latent_copy import copy_for
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float, to_pixels
from latentfp.studies.context import Context, answers, identity, open_context
from latentfp.studies.experiment import Experiment, Numbers
from latentfp.types import Params, by_path

RECOGNISED = 0.9  # |cosine| from which an axis counts as found
BATCH = 100


class Settings(NamedTuple):
    """How much is measured: `users` are registered, a p-value up to `alpha` names one."""

    deployment: str
    users: int
    images: int
    samples: int
    alpha: float


def measure(experiment: Experiment, settings: Settings) -> dict[str, Numbers]:
    """What both attacks reach against new users.

    ValueError for a generator that has no copies with a code built in.
    """
    context = open_context(settings.deployment, seed=experiment.seed)
    distance, bits = context.opened.manifest.min_distance, context.subject.bits
    codes = draw_codes(context.seed, settings.users, bits=bits, min_distance=distance)
    copies = [copy_of(context, code) for code in codes[:2]]
    attacks = {
        "re-estimation": lambda: re_estimation(context, copies[0], samples=settings.samples),
        "averaging": lambda: averaging(context, copies, codes, settings=settings),
    }
    numbers = experiment.measured(
        [{"attack": name} for name in attacks],
        lambda cell: attacks[cell["attack"]](),
        belongs={**identity(context), **settings._replace(deployment="")._asdict()},
    )
    return dict(zip(attacks, numbers, strict=True))


def copy_of(context: Context, code: np.ndarray) -> Params:
    """The weights of a copy with this code."""
    subject = context.subject
    return folded(context.loaded, copy_for(subject.space, code, sigma=subject.sigma, coding=subject.coding))


def null_space(params: Params, bits: int) -> Float[np.ndarray, "k d"]:
    """The directions of the latent to which the affine layers of a copy are deaf."""
    kernels = [
        np.asarray(x, np.float64) for name, x in by_path(params).items() if name.endswith("affine/kernel")
    ]
    return np.linalg.svd(np.concatenate(kernels, axis=1))[0][:, -bits:].T


def re_estimation(context: Context, params: Params, *, samples: int) -> dict[str, Any]:
    """How well the copy betrays the span of the code's axes, and the axes of single bits."""
    axes = np.asarray(context.subject.space.code_axes, np.float64)
    angles = scipy.linalg.subspace_angles(axes.T, null_space(params, len(axes)).T)
    own = context.loaded._replace(params=params)  # the user's, whose mapping network is as it was
    seeds = {"samples_of_the_usual_seed": USUAL.seed, "other_samples": USUAL.seed + 1}
    return {
        "largest_angle_of_the_span_degrees": float(np.degrees(angles.max())),
        "bits": len(axes),
        **{name: _recognised(axes, own, Sampling(samples, seed)) for name, seed in seeds.items()},
    }


def _recognised(axes: Float[np.ndarray, "k d"], own: Pretrained, sampling: Sampling) -> dict[str, Any]:
    """How near the axes of the bits the nearest of the principal axes lie that a user computes."""
    guessed = np.asarray(sample_basis(own, sampling).axes, np.float64)
    best = np.abs(axes @ guessed.T).max(axis=1)
    return {"bits_recognised": int((best > RECOGNISED).sum()), "mean_best_cosine": float(best.mean())}


def averaging(
    context: Context, copies: list[Params], codes: CodeBook, *, settings: Settings
) -> dict[str, Any]:
    """Whom the images of two users' mean copy name, and what is read where their codes agree and differ."""
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *copies)
    found = answers(context, Method.REFINE, _files(context, mean, settings.images), label="averaged")
    verdicts = judge(
        found.estimate, among(codes, repeats=context.opened.manifest.repeats), alpha=settings.alpha
    )
    named = [verdict.user for verdict in verdicts]
    bits, alike = np.asarray(found.estimate.logits) > 0, codes[0] == codes[1]
    return {
        "images": settings.images,
        "registered_users": len(codes),
        "bits_in_which_they_agree": int(alike.sum()),
        "named_first": sum(user == 0 for user in named),
        "named_second": sum(user == 1 for user in named),
        "named_nobody": sum(user is None for user in named),
        "named_innocent": sum(user is not None and user > 1 for user in named),
        "bits_right_where_they_agree": float((bits == codes[0])[:, alike].mean()),
        "bits_of_the_first_where_they_differ": float((bits == codes[0])[:, ~alike].mean()),
    }


def _files(context: Context, params: Params, images: int) -> Float[np.ndarray, "n h w 3"]:
    """Images of a copy, as files keep them."""
    generator, made = context.loaded.generator, []
    for first in range(0, images, BATCH):
        key = rng.stream(rng.root(context.seed), "white box", first)
        w = generator.sample(params, key, min(BATCH, images - first))
        made.append(np.asarray(to_pixels(jnp.asarray(generator.synthesize(params, w)))))
    return to_float(np.concatenate(made))
