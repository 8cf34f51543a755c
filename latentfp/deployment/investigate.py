"""From image files to verdicts: read, estimate, judge.

Files go in groups, so that the early ones are answered while the later ones wait.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from latentfp.attribution.estimate import Answer, Status, select
from latentfp.attribution.membership import Null
from latentfp.attribution.observation import VISIBLE
from latentfp.attribution.verdict import ALPHA, CLEARED, Registered, Verdict, judge
from latentfp.augment import damage
from latentfp.choices import Stage
from latentfp.data.files import Size, StrPath, UnreadableImage, file_hash, read_images
from latentfp.pixels import to_float

GROUP = 128  # files between two answers


class Candidate(NamedTuple):
    """A user as the author of a file; `log_likelihood`: natural, of the soft bits (verdict.py)."""

    user: str
    matched_bits: int
    log_likelihood: float


class Finding(NamedTuple):
    """What is said of one file; `answer` is its estimate alone, None where nothing was estimated.

    `sha256`: of the file, taken before it was read; None where it cannot be. `verdict`: "user", "none",
    "inconclusive" or "unreadable". `matched_bits` and `p_value` are those of the best user, named or not, the
    first of `ranked`; `shortfall`: the chance that the image's own code would reach no more than that user's
    score. `misfit`: what of the image its best explanation leaves, √mean z²; `membership`: the p-value that
    one of the generator's images leaves so much (membership.py), None where that was not calibrated or the
    image was named before.
    `status`: "ok", "nonfinite", or why the file was not read. `stage`: the one that decided. `passes` of the
    generator and `looks` of the decoder are what the file cost, `seconds` its share of its group's time.
    `damage`: the strengths that were inferred and are visible, by the names of augment.damage.Damage.
    """

    file: str
    sha256: str | None
    verdict: str
    user: str | None
    matched_bits: int | None
    bits: int
    p_value: float | None
    shortfall: float | None
    misfit: float | None
    membership: float | None
    status: str
    stage: str | None
    passes: int
    looks: int
    seconds: float
    damage: dict[str, float] | None = None
    ranked: tuple[Candidate, ...] = ()
    answer: Answer | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of `latentfp attribute --json`."""
        plain = {name: value for name, value in self._asdict().items() if name != "answer"}
        return {**plain, "ranked": [candidate._asdict() for candidate in self.ranked]}


def investigate(
    paths: Sequence[StrPath],
    registered: Registered,
    name_of: Callable[[int], str],
    estimate: Callable[[Float[np.ndarray, "n h w 3"], int], Answer],
    *,
    size: Size,
    alpha: float = ALPHA,
    null: Null | None = None,
    resize: bool = False,
) -> Iterator[Finding]:
    """A finding for each of `paths`, in their order. ValueError: no users, or an `alpha` out of reach.

    `name_of`: the names of the users in the rows of the registry. `estimate`: the answers for images [-1, 1]
    and the number of the first. `null`: of the test for membership.
    `size` (height, width) is the generator's; other files are refused, or resampled with `resize`.
    """
    for first in range(0, len(paths), GROUP):
        hashes = [file_hash(path) for path in paths[first : first + GROUP]]
        read = list(read_images(paths[first : first + GROUP], size=size, resize=resize))
        images = [to_float(pixels) for _, pixels in read if not isinstance(pixels, UnreadableImage)]
        began = time.perf_counter()
        estimates = estimate(np.stack(images), first) if images else None
        seconds = (time.perf_counter() - began) / max(1, len(images))
        found = iter(_findings(estimates, registered, name_of, null, alpha=alpha) if estimates else [])
        for sha256, (path, pixels) in zip(hashes, read, strict=True):
            if isinstance(pixels, UnreadableImage):
                yield _unreadable(path, str(pixels), bits=registered.bits)._replace(sha256=sha256)
            else:
                yield next(found)._replace(file=str(path), sha256=sha256, seconds=seconds)


def _unreadable(path: StrPath, reason: str, *, bits: int) -> Finding:
    return Finding(
        file=str(path),
        sha256=None,
        verdict="unreadable",
        user=None,
        matched_bits=None,
        bits=bits,
        p_value=None,
        shortfall=None,
        misfit=None,
        membership=None,
        status=reason,
        stage=None,
        passes=0,
        looks=0,
        seconds=0.0,
    )


def _findings(
    found: Answer,
    registered: Registered,
    name_of: Callable[[int], str],
    null: Null | None,
    *,
    alpha: float,
) -> list[Finding]:
    members = np.full(len(found.stage), np.nan) if null is None else null.p_values(found)
    verdicts = judge(found.estimate, registered, alpha=alpha, foreign=members <= CLEARED)
    harms = np.asarray(found.damage)
    return [
        Finding(
            file="",
            sha256=None,
            verdict=verdict.kind.value,
            user=None if verdict.user is None else name_of(verdict.user),
            matched_bits=verdict.ranked[0].matched_bits if verdict.ranked else 0,
            bits=registered.bits,
            p_value=verdict.p_value,
            shortfall=verdict.shortfall,
            misfit=float(found.estimate.loss[i]),
            membership=None if np.isnan(members[i]) else float(members[i]),
            status=Status(int(found.estimate.status[i])).name.lower(),
            stage=Stage(int(found.stage[i])).name.lower(),
            passes=int(found.passes[i]),
            looks=int(found.looks[i]),
            seconds=0.0,
            damage=_visible(harms[i]),
            ranked=_named(verdict, name_of),
            answer=select(found, np.array([i])),
        )
        for i, verdict in enumerate(verdicts)
    ]


def _named(verdict: Verdict, name_of: Callable[[int], str]) -> tuple[Candidate, ...]:
    return tuple(Candidate(name_of(it.user), it.matched_bits, it.log_likelihood) for it in verdict.ranked)


def _visible(harm: Float[np.ndarray, " m"]) -> dict[str, float]:
    """The strengths of a damage, in the coordinates of augment/damage.py, that can be seen."""
    strengths = damage.from_coordinates(jnp.asarray(harm))._asdict()
    shown = zip(strengths.items(), np.abs(harm) > VISIBLE, strict=True)
    return {name: round(float(strength), 3) for (name, strength), seen in shown if seen}
