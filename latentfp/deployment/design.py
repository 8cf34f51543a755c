"""Where and how strongly the codes of a generator are written.

A shipped generator has a `design.json` that a sweep over strength and first axis chose. Other generators get
64 bits on their last axes, and must be told the strength: it depends on the latent's units. Or axes, which
need not follow each other, and strength are chosen by prediction, `design`: the least visible code that
survives; `write` puts them into a file, and `read` finds them there.

For every attack the information that it leaves is measured at samples of the prior (fingerprint/
sensitivity.py); the distortion is taken for known, as the model that the descents fit. Axes are ranked by the
square of what one must move along them to be read, times what that changes of the image; candidates are the
first of that ranking and all windows of consecutive axes. Each gets the smallest strength at which the mean
share of right bits reaches the target under every attack, and the least visible one wins.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from latentfp import rng
from latentfp.attribution.observation import DAMAGED
from latentfp.augment.damage import Damage, coordinates
from latentfp.deployment.copies import draw_latents
from latentfp.deployment.planning import CodePlan, plans
from latentfp.fingerprint import sensitivity
from latentfp.fingerprint.basis import Basis, check_place
from latentfp.fingerprint.sensitivity import Marking
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.files import replacing
from latentfp.runtime.progress import track
from latentfp.types import Latents

FILE = "design.json"
BITS = 64

# The post-processes of Nie et al. 2023, and the crop of Kim et al. 2021.
DAMAGES = {
    "none": Damage(),
    "blur": Damage(blur=0.5),
    "noise": Damage(noise=0.1),
    "jpeg": Damage(quality=50.0),
    "combination": Damage(blur=0.5, noise=0.1, quality=50.0),
    "crop": Damage(scale=0.8),
}
SUITE = {"nie2023": ("none", "blur", "noise", "jpeg", "combination")}
MOST_AXES = 2048  # a matrix of so many rows is inverted for every sample
WINDOW_STEP = 32
STRONGEST = 1.0  # mean squared change of a value beyond which no strength is tried: the image is gone
RANGE = 2.0


class Design(NamedTuple):
    """`sigma` in the latent's units; `bits` axes from number `shift` on.

    `axes`: the numbers of those that `with_last` brings there; None: they are there already.
    """

    sigma: float
    shift: int
    bits: int
    axes: tuple[int, ...] | None = None


def read(path: Path, loaded: Pretrained) -> Design:
    """The design in a file of `latentfp design`: a code on the last axes, where those that it names come.

    ValueError where it is none, or one for a generator of other contents.
    """
    try:
        found = json.loads(path.read_text())
        made_for, sigma, axes = found["identity"], float(found["sigma"]), tuple(map(int, found["axes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of `latentfp design`: {error!r}") from None
    if made_for != loaded.identity:
        raise ValueError(
            f"{path} is a design for another generator: found {made_for} ({found.get('generator')}), "
            f"expected {loaded.identity} ({loaded.name})"
        )
    return Design(sigma, loaded.generator.latent_dim - len(axes), len(axes), axes)


def complete(loaded: Pretrained, *, sigma: float | None, shift: int | None, bits: int | None) -> Design:
    """The design with what is given, and the generator's usual values for what is None.

    ValueError where the strength is neither given nor usual.
    """
    usual = _usual(loaded)
    strength = usual.get("sigma") if sigma is None else sigma
    if strength is None:
        raise ValueError(f"no strength is usual for {loaded.name}: give one with --sigma")
    length = int(usual.get("bits", BITS)) if bits is None else bits
    last = loaded.generator.latent_dim - length
    return Design(float(strength), int(usual.get("shift", last)) if shift is None else shift, length)


def _usual(loaded: Pretrained) -> dict[str, float]:
    path = pretrained.SHIPPED / loaded.name / FILE
    return json.loads(path.read_text()) if loaded.name in pretrained.shipped() and path.is_file() else {}


class Survey(NamedTuple):
    """What is known and visible of a generator's axes: `known` after each attack, [n q q]."""

    known: Mapping[str, Float[np.ndarray, "n q q"]]
    visible: Float[np.ndarray, " q"]
    stds: Float[np.ndarray, " q"]
    values: int  # of an image
    generator: str
    identity: str


class Proposal(NamedTuple):
    """A code's place and strength, with the predicted share of right bits by attack, and PSNR in dB."""

    generator: str
    identity: str
    axes: tuple[int, ...]
    sigma: float
    accuracy: dict[str, float]
    psnr: float


def design(
    loaded: Pretrained,
    basis: Basis,
    *,
    target: float,
    attacks: str,
    bits: Sequence[int],
    samples: int,
    seed: int,
) -> Proposal:
    """The least visible design for a generator and its basis, of one of these lengths.

    `attacks`: "nie2023" or names of DAMAGES with commas between. `target`: share of right bits, in (1/2, 1),
    under each of them. ValueError as by `check`, and where no strength reaches the target.
    """
    check(loaded, target=target, attacks=attacks, bits=bits)
    found = survey(loaded, basis, attack_names(attacks), samples=samples, seed=seed)
    return choose(found, target=target, lengths=bits)


def check(loaded: Pretrained, *, target: float, attacks: str, bits: Sequence[int]) -> None:
    """ValueError for what can be refused before the generator's axes are known."""
    if not 0.5 < target < 1:
        raise ValueError(f"target accuracy {target:g}: expected a share of right bits between 0.5 and 1")
    attack_names(attacks)
    axes = loaded.generator.latent_dim
    if axes > MOST_AXES:
        raise ValueError(f"{axes} axes are too many to survey: expected {MOST_AXES} or fewer")
    for length in bits:
        check_place(axes, shift=0, bits=length)


def attack_names(attacks: str) -> tuple[str, ...]:
    """The names in "nie2023" or in a list with commas. ValueError for an unknown one."""
    names = SUITE.get(attacks, tuple(attacks.split(",")))
    unknown = sorted(set(names) - DAMAGES.keys())
    if unknown:
        raise ValueError(f"attack {unknown[0]!r}: expected nie2023 or some of {', '.join(DAMAGES)}")
    return names


def lengths_for(users: int, *, alpha: float, target: float) -> list[int]:
    """Lengths that can serve so many users where a share `target` of bits is right. ValueError for none."""
    found = plans(users, alpha=alpha)
    enough = [it.bits for it in found if isinstance(it, CodePlan) and it.error_rate >= 1 - target]
    if not enough:
        too_few = f"wrong ones, not {1 - target:.1%}"
        reasons = [
            it if isinstance(it, str) else f"{it.bits} bits tolerate {it.error_rate:.1%} {too_few}"
            for it in found
        ]
        raise ValueError("no length serves: " + "; ".join(reasons))
    return enough


def survey(loaded: Pretrained, basis: Basis, attacks: Sequence[str], *, samples: int, seed: int) -> Survey:
    """Jacobians at `samples` latents of the prior, along all axes of the basis, through every attack.

    Needs about 16 bytes for every value of an image and every axis.
    """
    latents = draw_latents(
        loaded.generator, loaded.params, rng.stream(rng.root(seed), "survey"), count=samples
    )
    visible = np.zeros(basis.axes.shape[0])
    known: dict[str, list[np.ndarray]] = {name: [] for name in attacks}
    views = {name: _view(loaded, DAMAGES[name]) for name in attacks}
    plain = _images(loaded)
    for w in track(latents[:, None], "surveying the axes"):
        for name, (see, errors) in views.items():
            changes = sensitivity.jacobian(see, jnp.asarray(w), basis.axes)
            known[name].append(sensitivity.information(changes, errors)[0])
        visible += np.square(sensitivity.jacobian(plain, jnp.asarray(w), basis.axes)[0]).sum(axis=0)
    stacked = {name: np.stack(parts) for name, parts in known.items()}
    values = math.prod(loaded.generator.image_shape)
    return Survey(stacked, visible / samples, np.asarray(basis.stds), values, loaded.name, loaded.identity)


def _images(loaded: Pretrained) -> sensitivity.See:
    def see(w: Latents) -> Float[Array, "b p"]:
        return jnp.clip(loaded.generator.synthesize(loaded.params, w), -1, 1).reshape(w.shape[0], -1)

    return see


def _view(loaded: Pretrained, distortion: Damage) -> tuple[sensitivity.See, Float[np.ndarray, " p"]]:
    """What a descent that knows the damage compares, and its errors, infinite for what it does not see."""
    where = coordinates(Damage(*(jnp.float32(strength) for strength in distortion)))
    still, shape = jnp.zeros(DAMAGED.free), loaded.generator.image_shape

    def see(w: Latents) -> Float[Array, "b p"]:
        images = jnp.clip(loaded.generator.synthesize(loaded.params, w), -1, 1)
        return jax.vmap(lambda image: DAMAGED.of(image, where, still))(images)

    return see, np.asarray(DAMAGED.errors(shape, where))


def choose(survey: Survey, *, target: float, lengths: Sequence[int]) -> Proposal:
    """The least visible of all candidates. ValueError where none reaches the target."""
    candidates = [axes for bits in lengths for axes in candidate_axes(survey, bits)]
    found = [at_target(survey, axes, target=target) for axes in track(candidates, "comparing designs")]
    reached = [one for one in found if one is not None]
    if not reached:
        raise ValueError(
            f"no strength at which the image is still to be seen reads {target:.1%} of bits under "
            f"{', '.join(survey.known)}: ask for less, or for fewer attacks"
        )
    return max(reached, key=lambda one: one.psnr)


def candidate_axes(survey: Survey, bits: int) -> list[tuple[int, ...]]:
    """Windows of consecutive axes, and the cheapest axes if they must be moved by 1, 2, 4 … stds of noise."""
    q = len(survey.stds)
    windows = [tuple(range(shift, shift + bits)) for shift in (*range(0, q - bits, WINDOW_STEP), q - bits)]
    deviations = np.max([sensitivity.lone_deviations(h, survey.stds) for h in survey.known.values()], axis=0)
    cheapest = []
    for factor in (1.0, 2.0, 4.0, 8.0):
        moved = factor * np.median(deviations)  # half of the strength that a target may need
        cost = np.square(deviations) * survey.visible * (1 + np.square(survey.stds / moved))
        cheapest.append(tuple(sorted(int(axis) for axis in np.argsort(cost)[:bits])))
    return [*windows, *dict.fromkeys(cheapest)]


def at_target(survey: Survey, axes: tuple[int, ...], *, target: float) -> Proposal | None:
    """The smallest strength that reaches the target under every attack; None where it is out of reach."""
    deviations = {name: sensitivity.code_deviations(h, survey.stds, axes) for name, h in survey.known.items()}
    worst = least_right(deviations)
    low, high = 0.0, 2 * max(float(it.max()) for it in deviations.values())
    while worst(high) < target and visible(survey, Marking(axes, high)) <= STRONGEST:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if worst(middle) >= target else (middle, high)
    found = Marking(axes, high)
    return predict(survey, found) if visible(survey, found) <= STRONGEST else None


def least_right(deviations: Mapping[str, Float[np.ndarray, "n k"]]) -> Callable[[float], float]:
    """The smallest mean share of right bits of all attacks, as a function of the strength."""
    return lambda sigma: min(float(ndtr(sigma / 2 / it).mean()) for it in deviations.values())


def predict(survey: Survey, marking: Marking) -> Proposal:
    """What to expect of a place and strength, antipodal coding."""
    right = {
        name: 1 - float(sensitivity.bit_errors(h, survey.stds, marking).mean())
        for name, h in survey.known.items()
    }
    changed = visible(survey, marking)
    psnr = float(10 * np.log10(RANGE**2 / changed))
    return Proposal(survey.generator, survey.identity, tuple(marking.axes), float(marking.sigma), right, psnr)


def visible(survey: Survey, marking: Marking) -> float:
    """Mean squared change of a value of the image."""
    return sensitivity.visible_change(survey.visible, survey.stds, marking, values=survey.values)


def write(path: Path, found: Proposal) -> None:
    """A proposal as a file for `latentfp fit --design`."""
    with replacing(path) as fresh:
        fresh.write_text(json.dumps(found._asdict(), indent=1) + "\n")
