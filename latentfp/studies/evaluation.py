"""What the users of one deployment can expect: how often their images are named under each attack.

Images are made with the registered users' copies in turn, saved, attacked, saved, read, and attributed among
all registered users by the default method, as files of cases are. Nothing is entered in the audit log.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from latentfp import rng
from latentfp.augment.attacks import Attack
from latentfp.deployment.attribute import Finding, Request, attribute_all, prepare
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import Deployment
from latentfp.deployment.registry import Status, User
from latentfp.generators.pretrained import Pretrained
from latentfp.runtime.progress import progress
from latentfp.studies.context import through_files
from latentfp.studies.experiment import Stream, seed_of
from latentfp.studies.statistics import binomial_interval

SCHEMA = pa.schema(
    [
        ("attack", pa.string()),
        ("images", pa.int64()),
        ("named_right", pa.int64()),
        ("named_wrong", pa.int64()),
        ("none", pa.int64()),
        ("inconclusive", pa.int64()),
        ("share_named", pa.float64()),  # right ones
        ("share_low", pa.float64()),  # exact binomial, 95 %
        ("share_high", pa.float64()),
        ("bits_right", pa.float64()),
        ("passes", pa.float64()),  # of the generator, an image
    ]
)


def evaluate(
    opened: Deployment, loaded: Pretrained, *, attacks: Sequence[Attack], images: int, seed: int, alpha: float
) -> pa.Table:
    """A row of SCHEMA for each attack, in order, with progress. ValueError without an active user."""
    users = [user for user in opened.registry.stream() if user.status is Status.ACTIVE]
    if not users or images < 1:
        raise ValueError(f"got {len(users)} active users and {images} images, expected at least 1 of each")
    makers = [users[i % len(users)] for i in range(images)]
    drawn = seed_of(seed, Stream.REPORT)
    codes, key = np.stack([user.code for user in makers]), rng.stream(rng.root(drawn), "evaluation")
    made = issue(subject_in(opened, loaded), codes, key=key).marked
    prepared = prepare(opened, loaded, Request(alpha=alpha, committed=True))
    rows = []
    with progress("evaluating", len(attacks) * images) as advance:
        for attack in attacks:
            files = through_files(made, attack, seed=drawn)
            found = list(attribute_all(prepared, list(files), progress=advance))
            rows.append(row(attack.name, found, makers))
    return pa.Table.from_pylist(rows, SCHEMA)


def row(attack: str, found: Sequence[Finding], makers: Sequence[User]) -> dict[str, object]:
    """The findings of one attack, of images by these users."""
    right = sum(it.user == maker.name for it, maker in zip(found, makers, strict=True))
    low, high = binomial_interval(right, len(found))
    bits = [
        np.mean(np.asarray(it.answer.estimate.code)[0] == maker.code)
        for it, maker in zip(found, makers, strict=True)
        if it.answer is not None
    ]
    return {
        "attack": attack,
        "images": len(found),
        "named_right": right,
        "named_wrong": sum(it.verdict == "user" for it in found) - right,
        "none": sum(it.verdict == "none" for it in found),
        "inconclusive": sum(it.verdict == "inconclusive" for it in found),
        "share_named": right / len(found),
        "share_low": low,
        "share_high": high,
        "bits_right": float(np.mean(bits)),
        "passes": float(np.mean([it.passes for it in found])),
    }
