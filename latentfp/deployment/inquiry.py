"""Attribution as a command: from the names of files and of a method to findings."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.tree_util import Partial
from jaxtyping import Bool, Float

from latentfp import rng
from latentfp.attribution import reference
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.ends import Subject
from latentfp.attribution.estimate import Answer, is_reading
from latentfp.attribution.ladder import Decided
from latentfp.attribution.membership import Null, explained
from latentfp.attribution.objective import Distance
from latentfp.attribution.verdict import Kind, Registered, check_alpha, judge
from latentfp.augment import damage
from latentfp.choices import Method, Stage
from latentfp.data.files import find_images
from latentfp.deployment import decoders
from latentfp.deployment.calibration import null_of
from latentfp.deployment.codebook import registered
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.investigate import Finding, investigate
from latentfp.deployment.logbook import logged
from latentfp.deployment.methods import MULTISCALE, Budget, as_filed, make_estimator, stages, subject_in
from latentfp.fingerprint.codes import pack
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained
from latentfp.quality import perceptual
from latentfp.runtime.progress import progress


class Request(NamedTuple):
    """What may be asked of an attribution. `starts` and `steps` replace those of multistart or reference."""

    method: Method = Method.AUTO
    until: Stage = Stage.MULTISTART
    starts: int | None = None
    steps: int | None = None
    distance: str = "multiscale"
    vgg: Path | None = None
    damage: Mapping[str, float] | None = None
    decoder: Path | None = None
    alpha: float = 1e-6
    seed: int = 0


def choose_distance(name: str, vgg: Path | None) -> Distance:
    """multiscale, or lpips with the weights in the file `vgg`."""
    if (name == "lpips") != (vgg is not None):
        raise ValueError("--distance lpips and --vgg FILE need each other: give both or neither")
    if vgg is None:
        return MULTISCALE
    return Partial(as_filed, Partial(perceptual.lpips, perceptual.load(vgg)))


def choose_budget(request: Request, generator: Generator) -> Budget:
    """The budget of a request, with the paper's search for this generator."""
    given = {n: v for n, v in (("starts", request.starts), ("steps", request.steps)) if v is not None}
    if given and request.method not in (Method.MULTISTART, Method.REFERENCE):
        raise ValueError(f"--{' --'.join(given)}: only --method multistart and reference take them")
    budget = Budget(until=request.until, search=reference.usual(generator))
    if request.method is Method.REFERENCE:
        return budget._replace(search=budget.search._replace(**given))
    steps = given.pop("steps", budget.multistart.steps)
    return budget._replace(multistart=budget.multistart._replace(steps=steps), **given)


def known_damage(strengths: Mapping[str, float] | None) -> Float[np.ndarray, " m"] | None:
    """The coordinates of a damage whose strengths are given by the names of augment.damage.Damage."""
    if strengths is None:
        return None
    unknown = sorted(strengths.keys() - set(damage.Damage._fields))
    if unknown or not all(np.isfinite(list(strengths.values()))):
        raise ValueError(
            f"damage {dict(strengths)}: expected finite strengths of {', '.join(damage.Damage._fields)}"
        )
    return np.asarray(damage.coordinates(damage.Damage(**strengths)))


def sufficient(registered: Registered, *, alpha: float) -> Decided:
    """Answers of a descent or search that name a user, or explain an undamaged image to within rounding.

    What a network reads never suffices: whoever has it can move pixels, unseen, until it reads another code.
    """

    def decided(answer: Answer) -> Bool[np.ndarray, " n"]:
        verdicts = judge(answer.estimate, registered, alpha=alpha)
        named = np.array([verdict.kind is Kind.USER for verdict in verdicts])
        return (named & ~is_reading(answer)) | explained(answer)

    return decided


def stage_by_stage(
    registered: Registered, method: Method, subject: Subject, decoder: TrainedDecoder | None, budget: Budget
) -> Registered:
    """The same users; auto may judge an image after each stage, so chances count that often (Bonferroni)."""
    looks = len(stages(method, subject, decoder, budget)) if method is Method.AUTO else 1
    return registered._replace(surplus=registered.surplus * looks)


def attribute(
    folder: Opening,
    images: Sequence[Path],
    request: Request,
    *,
    resize: bool = False,
    user: str | None = None,
) -> Iterator[Finding]:
    """A finding for every image below `images`, entered in the audit log; of one `user` alone if given."""
    opened = open_deployment(folder)
    loaded = load_generator(opened)
    users = searched(opened) if user is None else (alone(opened, user), lambda _row: user)
    action = "attribute" if user is None else "verify"
    findings = inquire(opened, loaded, find_images(images), request, resize=resize, users=users)
    yield from logged(opened.registry, action, findings)


def inquire(
    opened: Deployment,
    loaded: Pretrained,
    paths: Sequence[Path],
    request: Request,
    *,
    resize: bool = False,
    users: tuple[Registered, Callable[[int], str]] | None = None,
) -> Iterator[Finding]:
    """A finding for every file, with progress. `users`: who is searched, and their names; all by default."""
    yield from inquirer(opened, loaded, request, resize=resize, users=users)(paths)


def inquirer(
    opened: Deployment,
    loaded: Pretrained,
    request: Request,
    *,
    resize: bool = False,
    users: tuple[Registered, Callable[[int], str]] | None = None,
) -> Callable[[Sequence[Path]], Iterator[Finding]]:
    """What gives a finding for every file, as often as it is asked: as `inquire`, prepared once."""
    budget = choose_budget(request, loaded.generator)
    among, name_of = searched(opened) if users is None else users
    if among.users == 0:
        raise ValueError(f"{opened.path} has no users: add one with `latentfp users add`")
    trained = find_decoder(opened, loaded, request)
    subject = subject_in(opened, loaded)
    among = stage_by_stage(among, request.method, subject, trained, budget)
    check_alpha(request.alpha, bits=among.bits, users=among.users, surplus=among.surplus)
    estimator = make_estimator(
        subject,
        trained,
        request.method,
        key=rng.stream(rng.root(request.seed), "attribute"),
        budget=budget,
        distance=choose_distance(request.distance, request.vgg),
        known=known_damage(request.damage),
        decided=sufficient(among, alpha=request.alpha),
    )
    null = None if resize else usual_null(opened, request)

    def ask(paths: Sequence[Path]) -> Iterator[Finding]:
        with progress("attributing", estimator.work * len(paths)) as advance:
            yield from investigate(
                paths,
                among,
                name_of,
                lambda images, first: estimator.run(images, first, advance),
                size=loaded.generator.image_shape[:2],
                alpha=request.alpha,
                null=null,
                resize=resize,
            )

    return ask


def usual_null(opened: Deployment, request: Request) -> Null | None:
    """The null of the deployment's own images, where images climb as far as those did."""
    usual = Request(alpha=request.alpha, seed=request.seed)
    return null_of(opened) if request == usual else None


def searched(opened: Deployment) -> tuple[Registered, Callable[[int], str]]:
    """The users to be searched, and their names by row."""
    registry = opened.registry
    return registered(opened.codebook, registry.packed, users=registry.count()), registry.name_of


def alone(opened: Deployment, user: str) -> Registered:
    """One user as the only one who is searched. ValueError for an unknown name."""
    code = pack(opened.registry.user(user).code[None])
    return registered(opened.codebook, lambda: code, users=1)


def find_decoder(opened: Deployment, loaded: Pretrained, request: Request) -> TrainedDecoder | None:
    """The decoder that is asked for, else the deployment's; says on stderr if one is missed."""
    if request.method in (Method.ENCODER, Method.MULTISTART, Method.REFERENCE):
        return None
    if request.decoder is not None:
        return decoders.load(request.decoder, opened)
    trained = decoders.find(opened)
    if trained is None and loaded.generator.encode is None and request.method is not Method.DECODER:
        sys.stderr.write(
            f"note: {opened.path} has no decoder, so every image is searched from several starts, "
            "which takes a hundred times longer; train one as configs/decoder_stylegan2_avatars.py does\n"
        )
    return trained
