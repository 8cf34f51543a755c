"""Attribution with a deployment: from files or images to findings, one by one (together: origin.py).

`prepare` opens what a request needs, once; `attribute_all` then answers as often as it is asked; `attribute`
does both, and enters what it found in the audit log. Images go in groups, so that the early ones are answered
while the later ones wait.

Everything random about an image follows from the SHA-256 of its file, or, for an image without a file, of its
pixels. So the same file gets the same finding alone, in any list and in any number of processes: on a CPU
every field but `seconds` is equal; on an accelerator, where images share a program, floats may differ by
TOLERANCE of themselves.
"""

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution import covered, reference
from latentfp.attribution.cascade import MULTISCALE, Budget, Cascade, DecisionRule, Judged, as_filed
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.estimate import Answer, ImageIds, Progress, Status, hashed, ignore, select
from latentfp.attribution.evidence import holm, support
from latentfp.attribution.observation import VISIBLE
from latentfp.attribution.orientation import UPRIGHT, orientations
from latentfp.attribution.verdict import ALPHA, Registered, Verdict
from latentfp.augment import damage
from latentfp.choices import CodeOrigin, Distance, Method, Stage
from latentfp.data.files import Size, UnreadableImage, find_images, pixels_in, pixels_of, read_bytes
from latentfp.deployment import decoders
from latentfp.deployment.calibration import null_of
from latentfp.deployment.codebook import SEARCHED, registered
from latentfp.deployment.constants import subject_in
from latentfp.deployment.deployment import MANIFEST, Deployment, Opening, load_generator, open_deployment
from latentfp.deployment.manifest import sha256
from latentfp.deployment.registry import User
from latentfp.fingerprint.codes import pack
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained
from latentfp.pixels import to_float
from latentfp.runtime.progress import progress
from latentfp.types import Pixels

GROUP = 128  # images between two answers
DAMAGES = {  # the strengths that there are
    "degrees": (-180.0, 180.0),
    "scale": (0.05, 4.0),
    "down": (-1.0, 1.0),
    "right": (-1.0, 1.0),
    "blur": (0.0, 64.0),
    "brightness": (0.05, 20.0),
    "contrast": (0.05, 20.0),
    "noise": (0.0, 2.0),
    "quality": (1.0, 100.0),
}
TOLERANCE = 1e-3  # of floats on an accelerator, by an image's company


class Request(NamedTuple):
    """What may be asked of an attribution. `starts` and `steps` replace those of multistart or reference.

    `alpha` is a file's; with `case` it holds for all files of a call together (Holm 1979). `considered`:
    among how many users the one who is verified was chosen; all registered ones, if that is not said.
    `committed`: whether codes that were supplied, or drawn from a seed, were committed to before the files
    existed, so that they may be judged like those that were drawn in secret. `strict_size`: whether files of
    another size than the generator's are refused, and not resampled (data/files.py). `exact`: whether auto
    reads every bit, also where a few of them name a user.
    """

    method: Method = Method.AUTO
    until: Stage = Stage.MULTISTART
    starts: int | None = None
    steps: int | None = None
    distance: Distance = Distance.MULTISCALE
    vgg: Path | None = None
    damage: Mapping[str, float] | None = None
    decoder: Path | None = None
    alpha: float = ALPHA
    seed: int = 0
    case: bool = False
    considered: int | None = None
    committed: bool = False
    strict_size: bool = False
    exact: bool = False


class Candidate(NamedTuple):
    """A user as the author of a file; `log_likelihood`: natural, of the soft bits (verdict.py)."""

    user: str
    matched_bits: int
    log_likelihood: float


class Evidence(NamedTuple):
    """What a p-value is computed from (attribution/evidence.py), so that anyone can compute it again.

    `ratios` [k]: the image's soft bits in units of STEP, whose signs are the code that was read: whoever has
    them can write it. `scores`: of the ranked users; `bound`: no user's score is above it. `users`: how many
    were considered; `factor`: by what the chance of one is multiplied; `dependent`: whether their codes
    depend on each other. `temper`: by what ratios are divided so that they mean what they say, None where it
    is infinite; `clears_below`: the miss p-value below which nobody's copy made the image.
    """

    ratios: tuple[int, ...]
    scores: tuple[int, ...]
    bound: int
    users: int
    factor: float
    dependent: bool
    temper: float | None
    clears_below: float


class Finding(NamedTuple):
    """What is said of one image; `answer` and `evidence` are None where nothing was estimated.

    `sha256`: of the file, or of the pixels of an image without a file; None where there is none;
    `pixels_sha256`: of the pixels that were attributed (`pixel_hash`), which were resampled if the image had
    another size, `resampled_from` (height, width). `verdict`: "user", "none",
    "inconclusive" or "unreadable". `matched_bits` and `p_value` are those of the best user, named or not, the
    first of `ranked`; there is no p-value where that user's code was not drawn by chance (`code_origin`) and
    not committed to before. `case_p_value`: Holm's, over all images of the call, where that was asked.
    `log10_lr`: the likelihood ratio for that user, divided by the number of those who were considered, and
    `support` its words in forensic reports (attribution/evidence.py). `miss_p_value`: the chance that the
    image's own code would reach no more than that user's score. `residual`: what of the image its best
    explanation leaves, √mean z²; `membership`: the p-value that one of the generator's images leaves so much
    (membership.py), None where that was not calibrated or the image was named before.
    `status`: "ok", "nonfinite", or why the file was not read. `stage`: the one that decided. `passes` of the
    generator and `iterations` of the decoder are what the image cost, `seconds` its share of its group's
    time. `damage`: the strengths that were inferred and are visible, by the names of augment.damage.Damage,
    before the image was mirrored or turned (`orientation`, None of an upright one). `left_out`: the share of
    the image that looks drawn over it and was left out (attribution/covered.py).

    >>> dep = lf.open("deployment")
    >>> (finding,) = dep.attribute(dep.generate("bob"), alpha=1e-2)
    >>> finding.verdict, finding.user, finding.matched_bits, finding.bits
    ('user', 'bob', 16, 16)
    >>> sorted(finding.to_json())[:3]
    ['bits', 'case_p_value', 'code_origin']
    """

    file: str
    sha256: str | None
    verdict: str
    user: str | None = None
    matched_bits: int | None = None
    bits: int = 0
    p_value: float | None = None
    log10_lr: float | None = None
    support: str | None = None
    miss_p_value: float | None = None
    residual: float | None = None
    membership: float | None = None
    status: str = "ok"
    stage: str | None = None
    passes: int = 0
    iterations: int = 0
    seconds: float = 0.0
    damage: dict[str, float] | None = None
    ranked: tuple[Candidate, ...] = ()
    code_origin: str | None = None
    case_p_value: float | None = None
    pixels_sha256: str | None = None
    resampled_from: tuple[int, int] | None = None
    orientation: str | None = None
    left_out: float | None = None
    answer: Answer | None = None
    evidence: Evidence | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp attribute --json`; numbers that JSON has not are null."""
        kept = [name for name in self._fields if name not in ("answer", "evidence")]
        plain = {name: finite(getattr(self, name)) for name in kept}
        return {**plain, "ranked": [candidate._asdict() for candidate in self.ranked]}


def finite(value: Any) -> Any:
    """None for NaN and infinite numbers, everything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Prepared(NamedTuple):
    """A request with all that it takes: images of `image_shape` are answered by `cascade` and `rule`.

    `user_of`: the users in the rows of those who are searched. `strict_size`: as of the request.
    """

    cascade: Cascade
    rule: DecisionRule
    user_of: Callable[[int], User]
    image_shape: tuple[int, int, int]
    strict_size: bool = False


class Item(NamedTuple):
    """An image to be attributed: its name, the SHA-256 it is known by, its pixels [h w 3], if any, and the
    height and width that were found."""

    name: str
    sha256: str | None
    pixels: Pixels | UnreadableImage
    found: Size | None = None


def prepare(
    opened: Deployment,
    loaded: Pretrained,
    request: Request = Request(),  # noqa: B008
    *,
    user: str | None = None,
) -> Prepared:
    """What answers a request, among all users or about one `user` alone.

    ValueError: no users, an unknown one, an `alpha` out of reach, or a method that cannot run here.
    """
    among = _registered(opened, user, request.considered)
    if among.users == 0:
        raise ValueError(f"{opened.path} has no users: add one with `latentfp users add`")
    cascade = cascades.make_cascade(
        subject_in(opened, loaded),
        find_decoder(opened, loaded, request),
        request.method,
        key=rng.stream(rng.root(request.seed), "attribute"),
        budget=choose_budget(request, loaded.generator),
        distance=choose_distance(request.distance, request.vgg),
        known=known_distortion(request.damage),
    )
    # The null is that of images which may run as far as the usual request lets them.
    told = ("alpha", "seed", "case", "considered", "committed", "strict_size", "exact")  # it depends on none
    estimated = request._replace(**{name: getattr(Request(), name) for name in told})
    null = null_of(opened) if estimated == Request() else None
    user_of = opened.registry.user_of if user is None else (lambda _row: opened.registry.user(user))

    def drawn(row: int) -> bool:
        return request.committed or user_of(row).origin is CodeOrigin.DRAWN

    rule = cascades.decision_rule(cascade, among, alpha=request.alpha, null=null, drawn=drawn)
    return Prepared(cascade, rule, user_of, loaded.generator.image_shape, request.strict_size)


def attribute(
    folder: Opening,
    images: Any,
    request: Request = Request(),  # noqa: B008
    *,
    user: str | None = None,
) -> Iterator[Finding]:
    """A finding for every one of `images` (see `listed`), entered in the audit log before it is reported.

    Of one `user` alone if given. Progress is shown.
    """
    opened = open_deployment(folder)
    prepared = prepare(opened, load_generator(opened), request, user=user)
    sources = listed(images)
    asked = {"users": prepared.rule.registered.users, **request_facts(request)}
    with progress("attributing", len(sources)) as advance:
        findings = attribute_all(prepared, sources, progress=advance)
        size = len(sources) if request.case else GROUP
        while some := list(islice(findings, size)):
            some = by_case(some, alpha=request.alpha) if request.case else some
            told = [[it.sha256, it.verdict, it.user, finite(it.p_value)] for it in some]
            opened.registry.note("attribute" if user is None else "verify", {"asked": asked, "images": told})
            yield from some


def by_case(findings: Sequence[Finding], *, alpha: float) -> list[Finding]:
    """The findings of one case, in which `alpha` is the chance that any file is given a wrong name (Holm)."""
    tested = [i for i, it in enumerate(findings) if it.p_value is not None]
    adjusted = list(findings)
    for i, p in zip(tested, holm([findings[i].p_value or 0.0 for i in tested]), strict=True):
        adjusted[i] = findings[i]._replace(case_p_value=p)
        if findings[i].verdict == "user" and p > alpha:
            adjusted[i] = adjusted[i]._replace(verdict="inconclusive", user=None)
    return adjusted


def listed(images: Any) -> list[Any]:
    """Files, folders of files, PIL images and arrays [h w 3] or [n h w 3], one or several, as a flat list."""
    if isinstance(images, str | os.PathLike):
        return find_images([images])
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Iterable):
        return [source for some in images for source in listed(some)]
    return [images]


def attribute_all(
    prepared: Prepared, sources: Sequence[Any], *, progress: Progress = ignore
) -> Iterator[Finding]:
    """A finding for each of `sources`: files, PIL images or uint8 arrays [h w 3], in their order.

    An image without a file is called "image 0", "image 1", … by its place. ValueError for an array that is
    no image.
    """
    rest = items_of(prepared, sources)
    while group := list(islice(rest, GROUP)):
        size = prepared.image_shape[:2]
        readable = [i for i, it in enumerate(group) if not isinstance(it.pixels, UnreadableImage)]
        progress(len(group) - len(readable), "")
        # Calibration knows nothing of images that were resampled.
        foreign = prepared._replace(rule=prepared.rule._replace(null=None))
        found: dict[int, Finding] = {}
        for judging, is_resampled in ((prepared, False), (foreign, True)):
            some = [i for i in readable if (group[i].found != size) == is_resampled]
            if some:
                findings = _answered(judging, [group[i] for i in some], progress)
                found.update(zip(some, findings, strict=True))
        yield from (found[i] if i in found else _unread(prepared, it) for i, it in enumerate(group))


def _unread(prepared: Prepared, item: Item) -> Finding:
    bits, status = prepared.rule.registered.bits, str(item.pixels)
    return Finding(item.name, item.sha256, "unreadable", bits=bits, status=status)


def items_of(prepared: Prepared, sources: Sequence[Any]) -> Iterator[Item]:
    """Every source with its pixels, or why it has none."""
    size = prepared.image_shape[:2]
    resize = not prepared.strict_size
    return (_item(place, source, size=size, resize=resize) for place, source in enumerate(sources))


def _item(place: int, source: Any, *, size: Size, resize: bool) -> Item:
    if isinstance(source, str | os.PathLike):
        name = str(Path(source))
        try:
            data = read_bytes(source)
        except UnreadableImage as error:
            return Item(name, None, error)
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            return Item(name, sha256, *pixels_in(data, source, size=size, resize=resize))
        except UnreadableImage as error:
            return Item(name, sha256, error)
    name = f"image {place}"
    try:
        pixels, found = pixels_of(source, name, size=size, resize=resize)
    except UnreadableImage as error:
        return Item(name, None, error)
    return Item(name, pixel_hash(pixels), pixels, found)


def pixel_hash(pixels: Pixels) -> str:
    """The SHA-256 of an image without a file: of "height width 3", a line's end, and the bytes row by row."""
    head = " ".join(map(str, pixels.shape)) + "\n"
    return hashlib.sha256(head.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _answered(prepared: Prepared, items: Sequence[Item], progress: Progress) -> list[Finding]:
    ids, images = values_of(items)
    _warm(prepared.cascade)
    began = time.perf_counter()
    found, said = cascades.attribute(prepared.cascade, prepared.rule, images, ids, progress=progress)
    seconds = (time.perf_counter() - began) / len(items)
    return [
        _finding(prepared, it, select(found, np.array([i])), judged, seconds)
        for i, (it, judged) in enumerate(zip(items, said, strict=True))
    ]


def values_of(items: Sequence[Item]) -> tuple[ImageIds, Float[np.ndarray, "n h w 3"]]:
    """The ids of images that could be read, and their values in [-1, 1]."""
    pixels = [it.pixels for it in items if not isinstance(it.pixels, UnreadableImage)]
    known = [it.sha256 or pixel_hash(image) for it, image in zip(items, pixels, strict=True)]
    return hashed(known), to_float(np.stack(pixels))


def _warm(cascade: Cascade) -> None:
    """Have the deployment's constants before the clock of the first image runs."""
    if {Stage.REFINE, Stage.MULTISTART} & set(cascade.stages):
        cascade.subject.curvature()
    if Stage.ENCODER in cascade.stages:
        cascade.subject.calibration()


def _finding(prepared: Prepared, item: Item, found: Answer, judged: Judged, seconds: float) -> Finding:
    verdict, registered = judged.verdict, prepared.rule.registered
    best = ranked_users(prepared, verdict)
    return Finding(
        file=item.name,
        sha256=item.sha256,
        verdict=verdict.kind.value,
        user=None if verdict.user is None else best[0].name,
        matched_bits=verdict.ranked[0].matched_bits if verdict.ranked else 0,
        bits=registered.bits,
        p_value=finite(verdict.p_value),
        log10_lr=finite(verdict.log10_lr),
        support=support_of(verdict),
        miss_p_value=verdict.miss_p_value,
        residual=float(found.estimate.loss[0]),
        membership=None if np.isnan(judged.membership) else judged.membership,
        status=Status(int(found.estimate.status[0])).name.lower(),
        stage=Stage(int(found.stage[0])).name.lower(),
        passes=int(found.passes[0]),
        iterations=int(found.iterations[0]),
        seconds=seconds,
        damage=_visible(found.distortion[0]),
        ranked=candidates_of(best, verdict),
        code_origin=best[0].origin.value if best else None,
        pixels_sha256=None if isinstance(item.pixels, UnreadableImage) else pixel_hash(item.pixels),
        resampled_from=None if item.found == prepared.image_shape[:2] else item.found,
        orientation=_orientation(found, prepared.image_shape),
        left_out=float(covered.share(found.hidden)[0]),
        answer=found,
        evidence=Evidence(
            ratios=verdict.soft,
            scores=tuple(it.score for it in verdict.ranked),
            bound=verdict.bound,
            users=registered.users,
            factor=registered.bonferroni,
            dependent=registered.dependent,
            temper=finite(verdict.temper),
            clears_below=verdict.clears_below,
        ),
    )


def _orientation(found: Answer, shape: tuple[int, ...]) -> str | None:
    number = int(found.orientation[0])
    return None if number == UPRIGHT else str(orientations(*shape[:2])[number])


def ranked_users(prepared: Prepared, verdict: Verdict) -> list[User]:
    """The users whom a verdict ranks."""
    return [prepared.user_of(it.user) for it in verdict.ranked]


def candidates_of(users: Sequence[User], verdict: Verdict) -> tuple[Candidate, ...]:
    """These users, as a finding has them."""
    pairs = zip(users, verdict.ranked, strict=True)
    return tuple(Candidate(user.name, it.matched_bits, it.log_likelihood) for user, it in pairs)


def support_of(verdict: Verdict) -> str | None:
    """The words of a verdict's likelihood ratio, if it has one."""
    return support(verdict.log10_lr) if math.isfinite(verdict.log10_lr) else None


def _visible(distortion: Float[np.ndarray, " m"]) -> dict[str, float]:
    """The strengths of a damage, from its distortion parameters, that can be seen."""
    strengths = damage.from_coordinates(distortion)._asdict()
    shown = zip(strengths.items(), np.abs(distortion) > VISIBLE, strict=True)
    return {name: round(float(strength), 3) for (name, strength), seen in shown if seen}


def _registered(opened: Deployment, user: str | None, considered: int | None) -> Registered:
    """The users to be searched; one who was chosen among `considered` counts as so many. ValueError for an
    unknown one."""
    registry = opened.registry
    if user is None:
        return registered(opened.codebook, registry.packed, users=registry.count())
    code = pack(registry.user(user).code[None])
    alone = registered(opened.codebook, lambda: code, users=1)
    return alone._replace(users=registry.count() if considered is None else considered)


def choose_distance(distance: Distance, vgg: Path | None) -> reference.Distance:
    """multiscale, or lpips with the weights in the file `vgg`."""
    if (distance is Distance.LPIPS) != (vgg is not None):
        raise ValueError("--distance lpips and --vgg FILE need each other: give both or neither")
    if vgg is None:
        return MULTISCALE
    from latentfp.quality import perceptual

    return Partial(as_filed, Partial(perceptual.lpips, perceptual.load(vgg)))


def choose_budget(request: Request, generator: Generator) -> Budget:
    """The budget of a request, with the paper's search for this generator."""
    given = {n: v for n, v in (("starts", request.starts), ("steps", request.steps)) if v is not None}
    if given and request.method not in (Method.MULTISTART, Method.REFERENCE):
        raise ValueError(f"--{' --'.join(given)}: only --method multistart and reference take them")
    budget = Budget(until=request.until, search=reference.usual(generator))
    budget = budget.exact if request.exact else budget
    if request.method is Method.REFERENCE:
        return budget._replace(search=budget.search._replace(**given))
    steps = given.pop("steps", budget.multistart.steps)
    return budget._replace(multistart=budget.multistart._replace(steps=steps), **given)


def known_distortion(strengths: Mapping[str, float] | None) -> Float[np.ndarray, " m"] | None:
    """The distortion parameters of a damage whose strengths have the names of augment.damage.Damage.

    ValueError for other names, and for strengths that there are not, of which the nearest would be taken.
    """
    if strengths is None:
        return None
    for name, strength in strengths.items():
        least, most = DAMAGES.get(name, (math.inf, -math.inf))
        if not least <= strength <= most:
            ranges = ", ".join(f"{known} {low:g} … {high:g}" for known, (low, high) in DAMAGES.items())
            raise ValueError(f"damage {name}={strength:g}: expected {ranges}")
    return np.asarray(damage.coordinates(damage.Damage(**strengths)))


def find_decoder(opened: Deployment, loaded: Pretrained, request: Request) -> TrainedDecoder | None:
    """The decoder that is asked for, else the deployment's; says on stderr if one is missed."""
    if request.method in (Method.ENCODER, Method.MULTISTART, Method.REFERENCE):
        return None
    if request.decoder is not None:
        return decoders.load(request.decoder, opened, loaded)
    trained = decoders.find(opened, loaded)
    if trained is None and loaded.generator.encode is None and request.method is not Method.DECODER:
        sys.stderr.write(
            f"note: {opened.path} has no decoder, so every image is searched from several starts, "
            "which takes a hundred times longer; train one as configs/decoder_stylegan2_avatars.py does\n"
        )
    return trained


def request_facts(request: Request) -> dict[str, Any]:
    """What was asked, as JSON."""
    asked = {**request._asdict(), "until": request.until.name.lower()}
    asked |= {name: None if asked[name] is None else str(asked[name]) for name in ("vgg", "decoder")}
    return asked | {"damage": None if request.damage is None else dict(request.damage)}


def deployment_facts(opened: Deployment, request: Request) -> dict[str, Any]:
    """What answers depend on: identity, and hashes of manifest, generator, basis, decoder and codes."""
    manifest = opened.manifest
    trained = decoders.find(opened) if request.decoder is None else decoders.load(request.decoder, opened)
    users = opened.registry.count()
    codes = opened.registry.packed().tobytes() if users <= SEARCHED else None
    return {
        "id": manifest.id,
        "created": manifest.created,
        "manifest": sha256((opened.path / MANIFEST).read_bytes()),
        "generator": manifest.generator._asdict(),
        "parts": dict(manifest.parts),
        "decoder": None if trained is None else trained.sha256,
        "bits": manifest.bits,
        "sigma": manifest.sigma,
        "shift": manifest.shift,
        "coding": manifest.coding,
        "code_book": {
            **manifest.codes._asdict(),
            "min_distance": manifest.min_distance,
            "repeats": manifest.repeats,
            "secret": manifest.rotation != "",
        },
        "users": users,
        "codes": None if codes is None else sha256(codes),
    }
