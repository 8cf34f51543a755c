"""Several files of one origin: whose copy made them (`attribute_together`), and who colluded to make them
(`trace`). Each file is explained by one descent from what is read at once, or by several starts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latentfp.attribution import cascade as cascades
from latentfp.attribution import together, tracing
from latentfp.attribution.confidence import tempers
from latentfp.attribution.estimate import Answer, Status
from latentfp.attribution.evidence import soften, tempered
from latentfp.attribution.together import Pooled
from latentfp.choices import CodeKind, Method
from latentfp.data.files import UnreadableImage, find_images
from latentfp.deployment.attribute import (
    Candidate,
    Item,
    Prepared,
    Request,
    candidates_of,
    finite,
    items_of,
    listed,
    prepare,
    ranked_users,
    support_of,
    values_of,
)
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.runtime.files import printable
from latentfp.runtime.progress import progress


class Part(NamedTuple):
    """A file among several of one origin: whether it counts, and if not, why."""

    file: str
    sha256: str | None
    counts: bool
    why: str


class Joint(NamedTuple):
    """What is said of several files of one origin together (attribution/together.py), as of one (`Finding`).

    `verdict`: "user" or "inconclusive"; `parts`: the files.

    >>> dep = lf.open("deployment")
    >>> joint = dep.attribute(dep.generate("bob", count=3), together=True, alpha=1e-2)
    >>> joint.user, sum(part.counts for part in joint.parts)
    ('bob', 3)
    """

    verdict: str
    user: str | None
    matched_bits: int
    bits: int
    p_value: float | None
    log10_lr: float | None
    support: str | None
    code_origin: str | None
    ranked: tuple[Candidate, ...]
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp attribute --together --json`."""
        ranked, parts = ([it._asdict() for it in some] for some in (self.ranked, self.parts))
        return {**self._asdict(), "ranked": ranked, "parts": parts}


def attribute_together(folder: Opening, images: Any, request: Request = Request()) -> Joint:  # noqa: B008
    """Whose copy made all of `images` (see `listed`), which are of one origin; entered in the audit log.

    Progress is shown. ValueError: no users, no readable file, `alpha` out of reach, or anything asked but
    alpha, seed, committed and strict_size.
    """
    taken = ("alpha", "seed", "committed", "strict_size")
    if request != Request(**{name: getattr(request, name) for name in taken}):
        raise ValueError(
            "--together takes --alpha, --seed, --codes-committed, --strict-size and --json alone: the rest "
            "is of files that are judged one by one"
        )
    opened = open_deployment(folder)
    request = request._replace(method=Method.REFINE)
    prepared, items, found = _read_together(opened, request, listed(images), "attributing")
    rule, estimate = prepared.rule, found.estimate
    content = estimate.content / prepared.cascade.subject.content_stds
    soft = tempered(soften(estimate.logits, repeats=rule.registered.repeats), tempers(found))
    pooled = together.pool(soft, content, np.asarray(estimate.status) != Status.OK)
    (verdict,) = rule.judge_pooled(pooled.soft)
    best = ranked_users(prepared, verdict)
    joint = Joint(
        verdict=verdict.kind.value,
        user=None if verdict.user is None else best[0].name,
        matched_bits=verdict.ranked[0].matched_bits if verdict.ranked else 0,
        bits=rule.registered.bits,
        p_value=finite(verdict.p_value),
        log10_lr=finite(verdict.log10_lr),
        support=support_of(verdict),
        code_origin=best[0].origin.value if best else None,
        ranked=candidates_of(best, verdict),
        parts=tuple(_parts(items, pooled)),
    )
    told = [[it.sha256, it.counts] for it in joint.parts]
    said = {"verdict": joint.verdict, "user": joint.user, "p": joint.p_value}
    asked = {"alpha": request.alpha, "seed": request.seed}
    opened.registry.note("attribute together", {**asked, **said, "images": told})
    return joint


def _parts(items: Sequence[Item], pooled: Pooled) -> Iterator[Part]:
    read = [it.name for it in items if not isinstance(it.pixels, UnreadableImage)]
    place = iter(range(len(read)))
    for it in items:
        if isinstance(it.pixels, UnreadableImage):
            yield Part(it.name, it.sha256, False, str(it.pixels))
            continue
        i = next(place)
        other = int(pooled.same_as[i])
        why = f"the same image as {printable(read[other])}" if other >= 0 else "contradicts the others"
        yield Part(it.name, it.sha256, bool(pooled.counts[i]), "" if pooled.counts[i] else why)


def _read_together(
    opened: Deployment, request: Request, sources: Sequence[Any], doing: str
) -> tuple[Prepared, list[Item], Answer]:
    """What answers the request, all files, and the answers of those that could be read.

    ValueError where none could.
    """
    prepared = prepare(opened, load_generator(opened), request)
    items = list(items_of(prepared, sources))
    read = [it for it in items if not isinstance(it.pixels, UnreadableImage)]
    if not read:
        raise ValueError("none of the files could be read as an image of this generator's size")
    ids, values = values_of(read)
    with progress(doing, len(read)) as advance:
        return prepared, items, cascades.run(prepared.cascade, values, ids, progress=advance)


class Accused(NamedTuple):
    """A user who is traced, and the chance that any innocent one scores as well."""

    user: str
    p_value: float


class Trace(NamedTuple):
    """What is said of all files together, of which `read` could be read.

    `smallest`: the p-value of the best user, accused or not.
    """

    files: int
    read: int
    users: int
    smallest: float
    accused: tuple[Accused, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp trace --json`."""
        return {**self._asdict(), "accused": [one._asdict() for one in self.accused]}


def trace(folder: Opening, images: Sequence[Path], *, alpha: float, seed: int) -> Trace:
    """Who made the images below `images` together, entered in the audit log.

    All files count as of one origin, and are read by a descent from what is read at once, or by several
    starts. ValueError: algebraic codes, no users, no readable file, `alpha` out of reach.
    """
    opened = open_deployment(folder)
    if opened.manifest.codes.kind is CodeKind.BCH:
        raise ValueError("words of an algebraic code depend on each other: only random codes can be traced")
    request = Request(method=Method.REFINE, alpha=alpha, seed=seed)
    prepared, items, answers = _read_together(opened, request, find_images(images), "tracing")
    among = prepared.rule.registered
    soft = tracing.weights(tracing.levels_of(answers.estimate), repeats=among.repeats)
    (ranked,) = tracing.suspects(soft, among)
    traced = [it for it in tracing.traced(ranked, alpha=prepared.rule.alpha) if prepared.rule.drawn(it.user)]
    accused = tuple(Accused(prepared.user_of(one.user).name, one.p_value) for one in traced)
    found = Trace(len(items), len(answers.stage), among.users, ranked[0].p_value, accused)
    opened.registry.note("trace", found.to_json())
    return found
