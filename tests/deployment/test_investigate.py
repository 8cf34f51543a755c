"""Files to findings, with an estimator that is exact: the linear generator's own encoder."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment

from latentfp import rng
from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.membership import Null
from latentfp.augment import damage
from latentfp.choices import Stage
from latentfp.data.files import write_image
from latentfp.deployment import investigate as investigation
from latentfp.deployment.copies import issue
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.inquiry import searched
from latentfp.deployment.investigate import investigate

FIELDS = [
    *("file", "sha256", "verdict", "user", "matched_bits", "bits", "p_value", "shortfall", "misfit"),
    *("membership", "status", "stage", "passes", "looks", "seconds", "damage", "ranked"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_deployment(write_deployment(tmp_path_factory.mktemp("investigate")))


@pytest.fixture(scope="module")
def evidence(opened, tmp_path_factory):
    """Paths in this order, with the expected verdict and user of each."""
    folder = tmp_path_factory.mktemp("evidence")
    users = opened.registry.users()
    loaded = load_generator(opened)
    issued = issue(
        loaded.generator,
        loaded.params,
        opened.space,
        np.stack([users[0].code, users[1].code, users[1].code]),
        sigma=opened.manifest.sigma,
        coding=opened.manifest.coding,
        key=rng.root(4),
    )
    for name, pixels in (
        ("bob", issued.marked[1]),
        ("alice", issued.marked[0]),
        ("plain", issued.plain[2]),
        ("bob-again", issued.marked[2]),
    ):
        write_image(folder / f"{name}.png", pixels)
    (folder / "text.png").write_text("no image")
    write_image(folder / "large.png", np.zeros((9, 8, 3), np.uint8))
    return [
        (folder / "bob.png", "user", "bob"),
        (folder / "text.png", "unreadable", None),
        (folder / "alice.png", "user", "alice"),
        (folder / "plain.png", "none", None),
        (folder / "missing.png", "unreadable", None),
        (folder / "large.png", "unreadable", None),
        (folder / "bob-again.png", "user", "bob"),
    ]


class Encoder:
    """The exact estimator; remembers the first number of every call."""

    def __init__(self, opened, status=Status.OK):
        self.loaded, self.space = load_generator(opened), opened.space
        self.status, self.firsts = status, []

    def __call__(self, images, first):
        self.firsts.append(first)
        assert self.loaded.generator.encode is not None
        w = self.loaded.generator.encode(self.loaded.params, jnp.asarray(images))
        marks = (w - self.space.mean[None]) @ self.space.code_axes.T
        n = len(images)
        contents = jnp.zeros((n, self.space.content_stds.shape[0]))
        estimate = Estimate(
            marks > 0, 9 * marks, contents, jnp.zeros(n), jnp.full(n, int(self.status)), marks
        )
        harm = damage.coordinates(damage.Damage(quality=50.0, blur=0.1))
        harms = jnp.tile(harm, (n, 1))
        return answer(estimate, Stage.REFINE, passes=7 + (marks[:, 0] > 0), looks=3, damage=harms)


def test_every_file_is_answered_in_order(opened, evidence):
    found = list(investigate([e[0] for e in evidence], *searched(opened), Encoder(opened), size=(8, 8)))
    assert [(f.file, f.verdict, f.user) for f in found] == [(str(p), v, u) for p, v, u in evidence]


def test_groups_change_nothing_but_the_numbers_given_on(opened, evidence, monkeypatch):
    paths = [e[0] for e in evidence]
    whole = list(investigate(paths, *searched(opened), Encoder(opened), size=(8, 8)))
    monkeypatch.setattr(investigation, "GROUP", 2)
    encoder = Encoder(opened)
    parts = list(investigate(paths, *searched(opened), encoder, size=(8, 8)))
    assert encoder.firsts == [0, 2, 6]  # the third group holds nothing that can be read
    for one, other in zip(whole, parts, strict=True):
        assert one._replace(seconds=0, answer=None) == other._replace(seconds=0, answer=None)


@pytest.mark.parametrize(
    ("null", "verdict", "membership"),
    [
        (None, "inconclusive", None),
        (Null(np.full(1000, 8.0), Stage.MULTISTART), "none", 1 / 1001),
        (Null(np.full(1000, 9.0), Stage.MULTISTART), "inconclusive", 1.0),
        (Null(np.full(998, 8.0), Stage.MULTISTART), "inconclusive", 1 / 999),
    ],
)
def test_foreign_images_are_nobodys(opened, evidence, null, verdict, membership):
    """No bit is read of an image, and its misfit is 9."""

    def vague(images, first):
        del first
        n = len(images)
        nothing = Estimate(
            jnp.zeros((n, 32), bool),
            jnp.zeros((n, 32)),
            jnp.zeros((n, 16)),
            jnp.full(n, 9.0),
            jnp.zeros(n, int),
            jnp.zeros((n, 32)),
        )
        return answer(nothing, Stage.MULTISTART, passes=1)

    (found,) = investigate([evidence[3][0]], *searched(opened), vague, size=(8, 8), null=null)
    assert found.verdict == verdict
    assert found.membership == (None if membership is None else pytest.approx(membership))


def test_a_finding_is_json(opened, evidence):
    found = list(investigate([e[0] for e in evidence], *searched(opened), Encoder(opened), size=(8, 8)))
    rows = [json.loads(json.dumps(f.to_json(), allow_nan=False)) for f in found]
    assert all(list(row) == FIELDS for row in rows)
    by_name = {row["file"].split("/")[-1]: row for row in rows}
    assert by_name["bob.png"]["matched_bits"] == by_name["bob.png"]["bits"] == 32
    assert by_name["bob.png"]["status"] == "ok"
    # 1 - (1 - 2^-32)^2, two users
    np.testing.assert_allclose(by_name["bob.png"]["p_value"], 2 * 2.0**-32, rtol=1e-6)
    assert by_name["plain.png"]["p_value"] > 1e-6
    first_bit = int(opened.registry.users()[1].code[0])
    cost = [by_name["bob.png"][name] for name in ("stage", "passes", "looks")]
    assert cost == ["refine", 7 + first_bit, 3]
    assert by_name["bob.png"]["seconds"] > 0
    missing = by_name["missing.png"]
    assert (missing["matched_bits"], missing["p_value"], missing["bits"]) == (None, None, 32)
    cost = [missing[name] for name in ("stage", "passes", "looks", "seconds", "damage")]
    assert cost == [None, 0, 0, 0.0, None]
    assert "missing.png" in missing["status"]
    assert "\n" not in missing["status"]


def test_damage_is_named_where_it_can_be_seen(opened, evidence):
    (found,) = investigate([evidence[0][0]], *searched(opened), Encoder(opened), size=(8, 8))
    assert found.damage == {"quality": 50.0}  # a blur of a tenth of a pixel changes nothing


def test_an_estimate_that_failed_names_nobody(opened, evidence):
    encoder = Encoder(opened, Status.NONFINITE)
    (found,) = investigate([evidence[0][0]], *searched(opened), encoder, size=(8, 8))
    assert (found.verdict, found.user, found.status) == ("inconclusive", None, "nonfinite")


def test_files_of_another_size_are_resampled_on_request(opened, evidence):
    (found,) = investigate([evidence[5][0]], *searched(opened), Encoder(opened), size=(8, 8), resize=True)
    assert found.verdict == "none"


def test_repeated_bits_are_counted_once(opened, evidence):
    """The 32 bits of a code are 16 in a registry that says that each comes twice."""
    twice = searched(opened._replace(codebook=opened.codebook._replace(repeats=2)))
    found = list(investigate([e[0] for e in evidence[:2]], *twice, Encoder(opened), size=(8, 8), alpha=0.01))
    assert [finding.bits for finding in found] == [16, 16]
    assert found[0].p_value is not None
    assert found[0].p_value >= 2.0**-16


def test_unreadable_files_alone_need_no_estimate(opened, evidence):
    encoder = Encoder(opened)
    (found,) = investigate([evidence[1][0]], *searched(opened), encoder, size=(8, 8))
    assert found.verdict == "unreadable"
    assert encoder.firsts == []
