"""Attribution in stages, of which each image runs only as many as its evidence needs.

    encoder      what the generator's own encoder reads, where it comes with one
    decoder      a few iterations of a trained network
    refine       a descent from the reading of the decoder or encoder
    multistart   what else may explain an image: another place in the file, parts drawn over it; without a
                 reading descents from the mean and from samples of the prior
    reference    the paper's search

A stage takes the images that are still undecided, with what the previous stages found, and answers better
at a higher cost; costs add up. After each stage a decision rule says which answers suffice. The descents
assume the damage that is known, else the one that the decoder read. What is random about an image follows
from its id.
Source: docs/concepts.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int

from latentfp import rng
from latentfp.attribution import covered, reference, registration
from latentfp.attribution import decoder as decoding
from latentfp.attribution import encoder as encoding
from latentfp.attribution.confidence import tempers
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.descent import (
    FitResult,
    ImageRows,
    Start,
    Subject,
    answered,
    better,
    blended,
    explanations,
    fit,
    fitted,
    in_batches,
    left_over,
)
from latentfp.attribution.estimate import (
    Advance,
    Answer,
    Estimate,
    ImageIds,
    Progress,
    Rows,
    Status,
    answer,
    ignore,
    is_reading,
    replace,
    select,
)
from latentfp.attribution.evidence import Soft
from latentfp.attribution.membership import Null, explained, limits
from latentfp.attribution.observation import is_damaged
from latentfp.attribution.reference import Distance
from latentfp.attribution.refine import SOLVED, Settings
from latentfp.attribution.verdict import (
    ALPHA,
    CLEARED,
    Kind,
    Registered,
    Verdict,
    check_alpha,
    judge,
    judge_soft,
)
from latentfp.augment import damage
from latentfp.choices import Method, Stage
from latentfp.quality import pixels
from latentfp.types import Image, Key, Scalar

# Which answers suffice, of the images in these rows.
Decided = Callable[[Answer, Rows], Bool[np.ndarray, " n"]]
PAIRS = 32  # images times starts that the reference search takes together
NEAR = 3.5  # residual at which auto asks whether the code that is written names a user
TOLERANCE = 0.01  # chance of a wrong bit at which an answer suffices


STAGES = {
    Method.AUTO: tuple(Stage),
    Method.ENCODER: (Stage.ENCODER,),
    Method.DECODER: (Stage.DECODER,),
    Method.REFINE: (Stage.ENCODER, Stage.DECODER, Stage.REFINE),
    Method.MULTISTART: (Stage.MULTISTART,),
    Method.REFERENCE: (Stage.REFERENCE,),
}


class Budget(NamedTuple):
    """How much each stage may spend.

    `restart`: of the first descent of multistart after refine; `until`: the last stage that auto runs.
    """

    refine: Settings = Settings(near=NEAR)
    restart: Settings = Settings(steps=18, first_scale=10.0)
    multistart: Settings = Settings(steps=36, first_scale=10.0)
    starts: int = 3
    search: reference.Settings = reference.STYLEGAN2
    until: Stage = Stage.MULTISTART

    @property
    def exact(self) -> "Budget":
        """The budget with which every bit is read, also where a few of them name a user."""
        return self._replace(refine=self.refine._replace(near=0.0))


def as_filed(distance: Distance, target: Image, image: Image) -> Scalar:
    """The distance to a render that was limited to [-1, 1], as the pixels of every file were."""
    return distance(target, jnp.clip(image, -1, 1))


MULTISCALE: Distance = Partial(as_filed, Partial(pixels.multiscale))


class Cascade(NamedTuple):
    """The stages of a method, and what they work with.

    `distance`: what the reference search minimises. `known`: the distortion parameters of the damage, if they
    need not be inferred. `key`: of all that is random about images.
    """

    method: Method
    stages: tuple[Stage, ...]
    subject: Subject
    decoder: TrainedDecoder | None
    budget: Budget
    key: Key
    distance: Distance = MULTISCALE
    known: Float[np.ndarray, " m"] | None = None

    @property
    def verdicts(self) -> int:
        """How many times an image may be judged: auto judges it after each stage, other methods once."""
        return len(self.stages) if self.method is Method.AUTO else 1

    def work(self, stage: Stage) -> int:
        """How much progress an image makes in a stage, which reports exactly that much."""
        budget, alone = self.budget, Stage.REFINE not in self.stages
        return {
            Stage.REFINE: budget.refine.steps,
            Stage.MULTISTART: budget.starts * budget.multistart.steps if alone else budget.restart.steps,
            Stage.REFERENCE: budget.search.starts * budget.search.steps,
        }.get(stage, 1)


def make_cascade(
    subject: Subject,
    decoder: TrainedDecoder | None,
    method: Method,
    *,
    key: Key,
    budget: Budget = Budget(),  # noqa: B008
    distance: Distance = MULTISCALE,
    known: Float[np.ndarray, " m"] | None = None,
) -> Cascade:
    """The cascade of a method.

    Only auto stops where a code that is written suffices. Without a decoder and an encoder, auto and refine
    start from multistart; the methods decoder and encoder raise ValueError where there is none.
    """
    stages = tuple(_stages(method, subject, decoder, budget))
    spent = budget if method is Method.AUTO else budget.exact
    return Cascade(method, stages, subject, decoder, spent, key, distance, known)


def _stages(method: Method, subject: Subject, decoder: TrainedDecoder | None, budget: Budget) -> list[Stage]:
    lacking = {Stage.ENCODER: subject.generator.encode is None, Stage.DECODER: decoder is None}
    if method is Method.DECODER and decoder is None:
        raise ValueError("the deployment has no decoder: train and `latentfp adopt` one, or use multistart")
    if method is Method.ENCODER and lacking[Stage.ENCODER]:
        raise ValueError(f"a {subject.generator.name} has no encoder: use another method")
    chosen = [s for s in STAGES[method] if method is not Method.AUTO or s <= budget.until]
    if not subject.complete:
        if Stage.ENCODER in chosen and not lacking[Stage.ENCODER]:
            return [Stage.ENCODER]
        held, d = subject.whitened.rows.shape
        raise ValueError(
            f"the basis holds {held} of {d} axes and not how latents vary along the others: only an encoder "
            "can read codes from it, or fit the deployment again"
        )
    if not all(lacking.values()) or method not in (Method.AUTO, Method.REFINE):
        return [s for s in chosen if not lacking.get(s)]
    return sorted({Stage.MULTISTART, *(s for s in chosen if s > Stage.REFINE)})


def run(
    cascade: Cascade,
    images: ImageRows,
    ids: ImageIds,
    *,
    decided: Decided | None = None,
    progress: Progress = ignore,
) -> Answer:
    """The answers of all images [-1, 1], each of the first stage of auto that decides it, else of the last.

    `decided`: which answers suffice; all bits right with a probability of 0.99, unless it is given. Methods
    other than auto run all of their stages. `progress` hears how many more images are done, and what is being
    done meanwhile.
    """
    suffices = decided or confident(TOLERANCE)
    finite = np.asarray(np.isfinite(images).all(axis=(1, 2, 3)))
    shown = np.where(finite[:, None, None, None], images, 0).astype(np.float32)
    rows, best = np.arange(len(images)), None
    for stage in cascade.stages:
        previous = None if best is None else select(best, rows)
        inside = _Inside(progress, stage, cascade.work(stage) * len(rows))
        found = _without(RUN[stage](cascade, shown[rows], ids[rows], previous, inside), finite[rows])
        if previous is not None:
            passes, iterations = found.passes + previous.passes, found.iterations + previous.iterations
            found = found._replace(passes=passes, iterations=iterations)
        best = found if best is None else replace(best, rows, found)
        over = np.full(len(rows), stage is cascade.stages[-1])
        if cascade.verdicts > 1 or over.all():
            over |= np.asarray(suffices(found, rows)) | ~finite[rows]
        progress(int(over.sum()), "")
        rows = rows[~over]
        if len(rows) == 0:
            break
    if best is None:
        raise ValueError("got no stages, expected at least 1")
    return best


class Judged(NamedTuple):
    """What is said of an image, the p-value that it is one of the generator's (NaN: not calibrated), and
    whether that suffices."""

    verdict: Verdict
    membership: float
    sufficient: bool


def by_chance(_row: int) -> bool:
    """That every code was drawn by chance."""
    return True


class DecisionRule(NamedTuple):
    """What is said of answers: the one place that knows of users, stages and alpha.

    `registered`: who is searched; its Bonferroni factor counts how many times an image may be judged. `null`:
    of the test for membership. `drawn`: whether the code of the user in a row was drawn by chance. Of one
    that somebody may have chosen, chance says nothing: there is no p-value, and nobody is named.
    """

    registered: Registered
    alpha: float = ALPHA
    null: Null | None = None
    drawn: Callable[[int], bool] = by_chance

    def judge(self, found: Answer) -> list[Judged]:
        """The verdicts, and which need no further stage.

        A descent or search suffices that names a user, or explains an undamaged image to within rounding.
        What a network reads never does: whoever has it can move pixels, unseen, until it reads another code.
        """
        members = np.full(len(found.stage), np.nan) if self.null is None else self.null.p_values(found)
        alien = members <= CLEARED
        whole = explained(found)
        verdicts = judge(
            found.estimate,
            self.registered,
            alpha=self.alpha,
            tempers=tempers(found),
            limits=limits(found, self.null),
            out_of_distribution=alien,
        )
        named = np.array([verdict.kind is Kind.USER for verdict in verdicts], bool)
        enough = (named & ~is_reading(found)) | whole
        stated = [self._stated(verdict) for verdict in verdicts]
        return [Judged(v, float(m), bool(e)) for v, m, e in zip(stated, members, enough, strict=True)]

    def judge_pooled(self, soft: Soft) -> list[Verdict]:
        """The verdicts of sums over several files (together.py), which clear nobody."""
        return [self._stated(it) for it in judge_soft(soft, self.registered, alpha=self.alpha)]

    def _stated(self, verdict: Verdict) -> Verdict:
        """The verdict, without a name, a p-value and a likelihood ratio where the best user's code was not
        drawn by chance."""
        if not verdict.ranked or self.drawn(verdict.ranked[0].user):
            return verdict
        kind = Kind.INCONCLUSIVE if verdict.kind is Kind.USER else verdict.kind
        return verdict._replace(kind=kind, user=None, p_value=np.nan, log10_lr=np.nan)

    def suffices(self, found: Answer, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Which answers need no further stage: `decided` of `run`."""
        del rows
        return np.array([it.sufficient for it in self.judge(found)], bool)


def decision_rule(
    cascade: Cascade,
    registered: Registered,
    *,
    alpha: float = ALPHA,
    null: Null | None = None,
    drawn: Callable[[int], bool] = by_chance,
) -> DecisionRule:
    """The rule for what a cascade answers. ValueError: no users, or an `alpha` that none of them can reach.

    auto may judge an image after each of its stages, so chances count that often (Bonferroni).
    """
    factor = registered.bonferroni * cascade.verdicts
    check_alpha(alpha, bits=registered.bits, users=registered.users, bonferroni=factor)
    return DecisionRule(registered._replace(bonferroni=factor), alpha, null, drawn)


def attribute(
    cascade: Cascade,
    rule: DecisionRule,
    images: ImageRows,
    ids: ImageIds,
    *,
    progress: Progress = ignore,
) -> tuple[Answer, list[Judged]]:
    """The answers of all images [-1, 1], and what is said of each: `run`, with every answer judged once."""
    said: dict[int, Judged] = {}

    def decided(found: Answer, rows: Rows) -> Bool[np.ndarray, " n"]:
        judged = rule.judge(found)
        said.update(zip(rows.tolist(), judged, strict=True))
        return np.array([it.sufficient for it in judged], bool)

    found = run(cascade, images, ids, decided=decided, progress=progress)
    return found, [said[row] for row in range(len(images))]


class _Inside:
    """Tells how much of a stage is done, in units of its work."""

    def __init__(self, progress: Progress, stage: Stage, work: int):
        self._progress, self._name, self._work, self._done = progress, stage.name.lower(), work, 0

    def __call__(self, n: int) -> None:
        self._done += n
        self._progress(0, f"{self._name} {100 * self._done // self._work} %")


def confident(tolerance: float) -> Decided:
    """Answers whose bits are all right with a probability of at least 1 - `tolerance`, as the logits say."""

    def decided(found: Answer, rows: Rows) -> Bool[np.ndarray, " n"]:
        del rows
        certainty = -np.logaddexp(0, -np.abs(found.estimate.logits)).sum(axis=1)
        return np.asarray(certainty >= np.log1p(-tolerance))

    return decided


def _without(found: Answer, finite: Bool[np.ndarray, " n"]) -> Answer:
    """Images that hold NaN or infinite numbers have a status of their own, and undecided bits."""
    estimate = found.estimate
    estimate = estimate._replace(
        code=estimate.code & finite[:, None],
        logits=np.where(finite[:, None], estimate.logits, 0),
        loss=np.where(finite, estimate.loss, np.inf),
        status=np.where(finite, estimate.status, int(Status.NONFINITE)),
    )
    return found._replace(estimate=estimate)


def _encoder(
    cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer | None, progress: Advance
) -> Answer:
    """What the generator's encoder reads of every image."""
    del ids, previous
    subject = cascade.subject
    given = subject.generator, subject.params, subject.whitened, subject.calibration()
    found: encoding.Encoded = in_batches(partial(encoding.read, *given), images, progress=progress)
    thetas, logits, residuals = map(np.asarray, (found.thetas, found.logits, found.residuals))
    content = thetas[:, : -subject.bits]
    return _reading(cascade, Stage.ENCODER, content, logits, residuals, passes=1, iterations=1)


def _decoder(
    cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer | None, progress: Advance
) -> Answer:
    """What the decoder reads of every image. Its loss is the residual that the last iteration saw."""
    del ids, previous
    subject, trained = cascade.subject, cascade.decoder
    if trained is None:
        raise ValueError("the stage decoder needs a decoder and got none")
    given = trained.decoder, trained.weights, subject.generator, subject.params, subject.whitened
    inverse = partial(decoding.read, *given, count=trained.iterations)
    reading, residual = in_batches(inverse, images, progress=progress)
    first = int(subject.generator.encode is not None)  # the iteration and the pass that start it
    costs = {"passes": trained.iterations - 1 + first, "iterations": trained.iterations + first}
    found = reading.content, reading.logits, residual
    return _reading(cascade, Stage.DECODER, *found, distortion=reading.damage, **costs)


def _reading(
    cascade: Cascade,
    stage: Stage,
    content: Float[np.ndarray, "b r"],
    logits: Float[np.ndarray, "b k"],
    residual: Float[np.ndarray, " b"],
    **costs: Any,
) -> Answer:
    stds = cascade.subject.content_stds
    unread = np.zeros((len(content), len(stds) - content.shape[1]), np.float32)
    content = np.concatenate([unread, content], axis=1) * stds[None]
    status = np.where(np.isfinite(residual), Status.OK, Status.NONFINITE)
    return answer(
        Estimate(logits > 0, logits, content, residual, status, np.tanh(logits / 2)), stage, **costs
    )


def _refine(
    cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer | None, progress: Advance
) -> Answer:
    """Descents from the answers of the previous stage."""
    del ids
    if previous is None:
        raise ValueError("refine starts from a reading and got none: use multistart")
    subject = cascade.subject
    start = Start(images, _distortions(cascade, images, previous), fitted(subject, previous).theta)
    found = fit(subject, cascade.budget.refine, start, progress)
    return answered(subject, Stage.REFINE, blended(found, previous))


def _multistart(
    cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer | None, progress: Advance
) -> Answer:
    """Descents from the mean and from samples of the prior, compared with each other and the previous answer.

    An image needs no further start once it is solved or two fit results agree. Start s of an image follows
    from the key, its id and s. After refine nothing is random any more (`_again`).
    """
    if previous is not None and Stage.REFINE in cascade.stages:
        return _again(cascade, images, ids, previous, progress)
    subject, settings = cascade.subject, cascade.budget.multistart
    distortions = _distortions(cascade, images, previous)
    best = None if previous is None else fitted(subject, previous)
    settled, spent = np.zeros(len(images), bool), np.zeros(len(images), int)
    for number in range(cascade.budget.starts):
        rows = np.flatnonzero(~settled)
        progress(int(settled.sum()) * settings.steps)
        if len(rows) == 0:
            continue
        origin = _starts(cascade.key, ids[rows], number, subject.whitened.size)
        found = fit(subject, settings, Start(images[rows], distortions[rows], origin), progress)
        spent[rows] += found.passes
        best, settled[rows] = better(best, found, rows, bits=subject.bits, pixels=images[0].size)
    if best is None:
        raise ValueError(f"got {cascade.budget.starts} starts, expected at least 1")
    return answered(subject, Stage.MULTISTART, blended(best._replace(passes=spent), previous))


def _again(cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer, progress: Advance) -> Answer:
    """What else may explain an image where refine did not.

    Another place of it in the file, if the decoder explains it better there; and parts that were drawn over
    it. Where refine stopped near an undamaged image, a descent goes on from there.
    """
    subject, budget = cascade.subject, cascade.budget
    best = fitted(subject, previous)
    undamaged = (best.residual < max(SOLVED, budget.refine.near)) & ~is_damaged(best.distortion)
    settled = (best.residual < SOLVED) & ~covered.likely(images) | undamaged
    spent, iterations = np.zeros((2, len(images)), int)
    rows = np.flatnonzero(undamaged & (best.residual >= SOLVED))
    if len(rows):
        begun = (images, _distortions(cascade, images, previous), best.theta)
        found = fit(subject, budget.restart, Start(*(part[rows] for part in begun)), ignore)
        spent[rows] += found.passes
        best, _ = better(best, found, rows, bits=subject.bits, pixels=images[0].size)
    rows = np.flatnonzero(~undamaged)
    if cascade.decoder is not None and cascade.known is None and len(rows):
        found, moved, iterations[rows] = _elsewhere(cascade, images[rows], ids[rows], select(best, rows))
        spent[rows] = found.passes
        best = replace(best, rows, found)
        settled[rows] |= moved & (found.residual < SOLVED) & ~covered.likely(images[rows])
    rows = np.flatnonzero(~settled)
    progress(int(settled.sum()) * budget.restart.steps)
    if len(rows):
        found = _uncovered(cascade, images[rows], progress)
        spent[rows] += found.passes
        good = (found.residual < covered.NEAR) & (covered.share(found.hidden) <= covered.MOST)
        best = replace(best, rows[good], select(found, good))
    found = answered(subject, Stage.MULTISTART, best._replace(passes=spent))
    return found._replace(iterations=iterations)


def _uncovered(cascade: Cascade, images: ImageRows, progress: Advance) -> FitResult:
    """Descents that leave out what looks drawn over an image; `passes` are those of all of them."""
    subject, n = cascade.subject, len(images)
    nothing_known = np.zeros((n, damage.SIZE), np.float32)
    distortions = nothing_known if cascade.known is None else np.tile(cascade.known, (n, 1))
    origin = np.zeros((n, subject.whitened.size), np.float32)
    seen = covered.without(images, covered.flat(images))
    found = fit(subject, cascade.budget.restart, Start(seen, distortions, origin), progress, soft=False)
    passes, rows = found.passes.copy(), np.arange(n)
    for look in covered.LOOKS:
        some = select(found, rows)
        hidden = covered.unexplained(images[rows], explanations(subject, some), look)
        seen = covered.without(images[rows], covered.pixels_of(hidden, *images.shape[1:3]))
        start, last = Start(seen, distortions[rows], some.theta), look is covered.LOOKS[-1]
        some = fit(subject, cascade.budget.exact.refine, start, ignore, soft=last)._replace(hidden=hidden)
        passes[rows] += some.passes
        found = replace(found, rows, some)
        rows = rows[some.residual < covered.HOPELESS]
        if len(rows) == 0:
            break
    return found._replace(passes=passes)


def _elsewhere(
    cascade: Cascade, images: ImageRows, ids: ImageIds, best: FitResult
) -> tuple[FitResult, Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """What explains files better than `best` does, with the image elsewhere in them (registration.py): fit
    results with all the passes that it took, which of them are better, and the iterations that it took.

    Descents are compared by what is left over of the file, since the errors that a fit assumes are its own.
    """
    subject = cascade.subject
    views, spent, iterations = _best_views(cascade, images, ids)
    left, moved = left_over(subject, best, images), np.zeros(len(images), bool)
    for view in views:
        rows = np.flatnonzero(view.promising)
        if len(rows) == 0:
            continue
        files, read, *_ = select(view, rows)
        found = fit(subject, cascade.budget.exact.refine, Start(files, read.distortion, read.theta), ignore)
        found = found._replace(orientation=read.orientation, hidden=read.hidden)
        spent[rows] += found.passes + 1
        remains = left_over(subject, found, files)
        wins = remains < left[rows]
        best = replace(best, rows[wins], select(found, wins))
        left[rows], moved[rows] = np.minimum(left[rows], remains), moved[rows] | wins
    return best._replace(passes=spent), moved, iterations


class _Seen(NamedTuple):
    """Files (NaN: not observed), what the decoder reads in views of them, what that leaves over, and whether
    it is worth a descent."""

    files: ImageRows
    read: FitResult
    left: Float[np.ndarray, " n"]
    promising: Bool[np.ndarray, " n"]


def _best_views(
    cascade: Cascade, images: ImageRows, ids: ImageIds
) -> tuple[list[_Seen], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """For every file the view of the image and the one of its mirror image that leave least; the passes and
    iterations of all views. None is promising that leaves about as much as the file as it stands."""
    subject, n = cascade.subject, len(images)
    spent, iterations = np.zeros((2, n), int)
    best: dict[bool, _Seen] = {}
    enough = None
    for view in registration.views(images):
        read = _decoder(cascade, registration.shown(view.files, view.window), ids, None, ignore)
        spent, iterations = spent + read.passes + 1, iterations + read.iterations
        found = fitted(subject, read)._replace(
            distortion=registration.in_file(read.distortion, view.window),
            orientation=np.full(n, view.orientation),
            hidden=covered.cells_of(view.frame),
        )
        files = covered.without(view.files, view.frame)
        left = left_over(subject, found, files)
        enough = registration.PROMISING * left if enough is None else enough
        new = _Seen(files, found, left, left < enough)
        old = best.setdefault(view.mirrored, new)
        least = np.flatnonzero(new.left < old.left)
        best[view.mirrored] = replace(old, least, select(new, least))
    return list(best.values()), spent, iterations


def _reference(
    cascade: Cascade, images: ImageRows, ids: ImageIds, previous: Answer | None, progress: Advance
) -> Answer:
    """The paper's search; what happens to an image does not depend on the previous answers."""
    del previous
    subject, settings = cascade.subject, cascade.budget.search
    on_cpu = jax.default_backend() == "cpu"
    found = reference.attribute_images(
        subject.generator,
        subject.params,
        subject.space,
        images,
        key=cascade.key,
        sigma=subject.sigma,
        coding=subject.coding,
        distance=cascade.distance,
        settings=settings,
        ids=ids,
        pairs_per_chunk=min(PAIRS, settings.starts) if on_cpu else PAIRS,
        multiple=1 if on_cpu else max(1, PAIRS // settings.starts),
        progress=progress,
    )
    return answer(found.estimate, Stage.REFERENCE, passes=2 * settings.starts * settings.steps)


RUN = {
    Stage.ENCODER: _encoder,
    Stage.DECODER: _decoder,
    Stage.REFINE: _refine,
    Stage.MULTISTART: _multistart,
    Stage.REFERENCE: _reference,
}


def _distortions(cascade: Cascade, images: ImageRows, previous: Answer | None) -> Float[np.ndarray, "n m"]:
    if cascade.known is not None:
        return np.tile(cascade.known, (len(images), 1))
    return np.zeros((len(images), damage.SIZE), np.float32) if previous is None else previous.distortion


def _starts(key: Key, ids: ImageIds, start: int, d: int) -> Float[np.ndarray, "b d"]:
    """Start 0 is the mean, the others are samples of the prior."""
    if start == 0:
        return np.zeros((len(ids), d), np.float32)
    return np.stack([np.asarray(_normal(key, jnp.asarray(words), start, d)) for words in ids])


@partial(jax.jit, static_argnames="d")
def _normal(key: Key, words: Int[Array, " words"], start: int | Int[Array, ""], d: int) -> Array:
    return jax.random.normal(rng.stream(key, "start", *words, start), (d,))
