"""Files and images to findings: what a request asks for, who is named, and that company cannot be seen."""

import hashlib
import json
from itertools import chain

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from linear_space import write_deployment
from small_decoder import write_decoder

from latentfp import rng
from latentfp.attribution import cascade as cascades
from latentfp.attribution import reference
from latentfp.attribution.cascade import Budget, DecisionRule
from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.evidence import holm
from latentfp.attribution.membership import Null
from latentfp.attribution.ranking import among
from latentfp.attribution.refine import SOLVED
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Distance, Method, Stage
from latentfp.cli.investigator import describe
from latentfp.data.files import read_image, write_image
from latentfp.deployment import attribute as attribution
from latentfp.deployment import decoders
from latentfp.deployment.attribute import (
    Request,
    attribute,
    attribute_all,
    choose_budget,
    find_decoder,
    known_distortion,
    listed,
    pixel_hash,
    prepare,
)
from latentfp.deployment.constants import subject_in
from latentfp.deployment.copies import generate_files, issue
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.fingerprint.codes import pack
from latentfp.generators import linear
from latentfp.generators.generator import PaperSearch

BITS = 64
BOOK = np.random.default_rng(1).random((3, BITS)) < 0.5
STYLED = linear.make()
DIFFUSED = STYLED._replace(search=PaperSearch(starts=1, penalty=0.005, start_shift=0.0))
NOBODY = np.zeros((1, BITS), bool)  # about half right for everybody


class TestBudget:
    def test_the_usual_one(self):
        assert choose_budget(Request(), STYLED) == Budget()

    def test_starts_and_steps_are_those_of_the_method(self):
        found = choose_budget(Request(method=Method.MULTISTART, starts=7, steps=5), STYLED)
        assert (found.starts, found.multistart.steps, found.search) == (7, 5, Budget().search)
        found = choose_budget(Request(method=Method.REFERENCE, starts=7, steps=5), STYLED)
        assert (found.search.starts, found.search.steps) == (7, 5)
        assert (found.starts, found.multistart) == (Budget().starts, Budget().multistart)
        assert choose_budget(Request(method=Method.MULTISTART, steps=5), STYLED).starts == Budget().starts

    def test_exact_reads_on_where_a_code_is_written(self):
        assert choose_budget(Request(exact=True), STYLED) == Budget().exact
        assert Budget().exact.refine.near == 0 < Budget().refine.near

    @pytest.mark.parametrize("method", [Method.AUTO, Method.DECODER, Method.REFINE])
    def test_other_methods_take_none(self, method):
        with pytest.raises(ValueError, match="--starts --steps: only --method multistart and reference"):
            choose_budget(Request(method=method, starts=1, steps=1), STYLED)

    def test_the_search_is_the_papers_for_the_generator(self):
        assert choose_budget(Request(), STYLED).search == reference.STYLEGAN2
        found = choose_budget(Request(method=Method.REFERENCE, starts=20), DIFFUSED).search
        assert found == reference.STYLEGAN2._replace(starts=20, penalty=0.005, start_shift=0.0)

    def test_auto_is_told_how_far(self):
        assert choose_budget(Request(until=Stage.REFERENCE), STYLED).until is Stage.REFERENCE


class TestKnownDistortion:
    def test_nothing_said_is_nothing_known(self):
        assert known_distortion(None) is None

    def test_what_is_not_named_is_not_there(self):
        found = known_distortion({"quality": 50.0, "blur": 0.7})
        assert found is not None
        np.testing.assert_allclose(found, damage.coordinates(Damage(quality=50.0, blur=0.7)), rtol=1e-6)
        np.testing.assert_array_equal(known_distortion({}), np.zeros(damage.SIZE))

    @pytest.mark.parametrize(
        "strengths",
        [
            *({"acid": 1.0}, {"blur": np.nan}, {"quality": np.inf}, {"quality": 500.0}, {"quality": 0.0}),
            *({"scale": 0.0}, {"noise": -1.0}, {"blur": -0.1}, {"brightness": 0.0}, {"degrees": 1e9}),
        ],
    )
    def test_what_does_not_exist_is_refused(self, strengths):
        with pytest.raises(ValueError, match="expected degrees -180 … 180, scale"):
            known_distortion(strengths)


def found(*, code, stage=Stage.REFINE, loss=1.0, status=Status.OK, harm=damage.NONE):
    logits = jnp.where(jnp.asarray(code), 3.0, -3.0)
    estimate = Estimate(
        jnp.asarray(code), logits, jnp.zeros((1, 4)), jnp.full(1, loss), jnp.full(1, int(status)), logits
    )
    return answer(estimate, stage, passes=1, distortion=damage.coordinates(harm)[None])


@pytest.mark.parametrize(
    ("changed", "suffices"),
    [
        ({"code": BOOK[1:2]}, True),
        (
            {"code": BOOK[1:2], "stage": Stage.DECODER, "loss": 50.0},
            False,
        ),  # nobody is named on a reading alone
        ({"code": BOOK[1:2], "stage": Stage.ENCODER}, False),
        ({"code": BOOK[1:2], "stage": Stage.MULTISTART, "loss": 50.0}, True),
        ({"code": BOOK[1:2], "harm": Damage(quality=50.0), "loss": 50.0}, True),
        ({"code": BOOK[1:2], "status": Status.NONFINITE}, False),
        ({}, True),  # explained, whoever made it
        ({"loss": SOLVED + 0.01}, False),
        ({"loss": np.nan}, False),
        ({"stage": Stage.DECODER}, False),  # a reading is no explanation
        ({"harm": Damage(blur=1.0)}, False),  # nor is a blurred one
        ({"harm": Damage(quality=50.0)}, False),
        ({"harm": Damage(noise=0.1)}, True),
        ({"status": Status.NONFINITE}, False),
    ],
)
def test_an_answer_suffices_if_a_descent_names_a_user_or_explains_the_image(changed, suffices):
    (said,) = DecisionRule(among(BOOK), 1e-6).judge(found(**{"code": NOBODY, **changed}))
    assert said.sufficient == suffices


def test_whoever_is_judged_at_several_stages_pays_for_each(tmp_path):
    """auto runs the encoder, a descent and the search from several starts; other methods judge once."""
    loaded = load_generator(opened := open_deployment(write_deployment(tmp_path)))
    made = [prepare(opened, loaded, Request(method=method)) for method in (Method.AUTO, Method.REFINE)]
    assert [it.cascade.verdicts for it in made] == [3, 1]
    assert [it.rule.registered.bonferroni for it in made] == [3.0, 1.0]
    rule = cascades.decision_rule(made[0].cascade, among(BOOK, bonferroni=2.0))
    assert rule.registered.bonferroni == 6
    once = DecisionRule(among(BOOK)).judge(found(code=BOOK[1:2]))[0].verdict.p_value
    assert rule.judge(found(code=BOOK[1:2]))[0].verdict.p_value == pytest.approx(6 * once)


def test_repeated_bits_count_once():
    """Among 3 users 48 of 64 bits have a p-value of 1e-4, but as 12 of 16 that come four times one of 0.1."""
    book = np.repeat(np.asarray(BOOK)[:, ::4], 4, axis=1)
    answer = found(code=np.concatenate([~book[1:2, :16], book[1:2, 16:]], axis=1), loss=50.0)
    for repeats, named in ((1, True), (4, False)):
        (said,) = DecisionRule(among(book, repeats=repeats), 0.05).judge(answer)
        assert said.sufficient == named


def test_an_alpha_out_of_reach_is_refused(tmp_path):
    """With 32 bits, 2 users and 3 verdicts even a perfect match has a p-value of 1.4e-9."""
    opened = open_deployment(write_deployment(tmp_path))
    loaded = load_generator(opened)
    assert prepare(opened, loaded, Request(alpha=2e-9)).rule.alpha == 2e-9
    with pytest.raises(ValueError, match="alpha 1e-09 cannot be met: with 2 users even 32 of 32 bits"):
        prepare(opened, loaded, Request(alpha=1e-9))
    opened = opened._replace(codebook=opened.codebook._replace(repeats=2))
    assert prepare(opened, loaded, Request(alpha=0.01)).rule.registered[:3] == (2, 16, 2)


class TestFindDecoder:
    @pytest.fixture(scope="class")
    def opened(self, tmp_path_factory):
        return open_deployment(write_deployment(tmp_path_factory.mktemp("inquiry"), size=16))

    @pytest.fixture(scope="class")
    def bare(self, opened):
        """The generator without its encoder."""
        loaded = load_generator(opened)
        return loaded._replace(generator=loaded.generator._replace(encode=None))

    def test_none_is_said_where_it_is_missed(self, opened, bare, capsys):
        assert find_decoder(opened, bare, Request()) is None
        told = capsys.readouterr().err
        assert told.startswith(f"note: {opened.path} has no decoder")
        assert told.count("\n") == 1
        for method in (Method.ENCODER, Method.MULTISTART, Method.REFERENCE, Method.DECODER):
            assert find_decoder(opened, bare, Request(method=method)) is None
        assert find_decoder(opened, load_generator(opened), Request()) is None  # its encoder does
        assert capsys.readouterr().err == ""

    def test_the_one_that_is_asked_for_comes_first(self, opened, bare, tmp_path, capsys):
        own, other = (
            write_decoder(tmp_path / name, opened, iterations=n) for name, n in (("own", 2), ("other", 3))
        )
        decoders.adopt(opened, own)
        for request, iterations in ((Request(), 2), (Request(decoder=other), 3)):
            trained = find_decoder(opened, bare, request)
            assert trained is not None
            assert trained.iterations == iterations
        assert find_decoder(opened, bare, Request(method=Method.MULTISTART, decoder=other)) is None
        assert capsys.readouterr().err == ""


def test_lpips_and_its_weights_need_each_other(tmp_path):
    for distance, vgg in ((Distance.LPIPS, None), (Distance.MULTISCALE, tmp_path / "vgg.pth")):
        with pytest.raises(ValueError, match="need each other"):
            attribution.choose_distance(distance, vgg)
    assert attribution.choose_distance(Distance.MULTISCALE, None) is cascades.MULTISCALE


FIELDS = [
    *("file", "sha256", "verdict", "user", "matched_bits", "bits", "p_value", "log10_lr", "support"),
    *("miss_p_value", "residual", "membership", "status", "stage", "passes", "iterations", "seconds"),
    *("damage", "ranked", "code_origin", "case_p_value", "pixels_sha256", "resampled_from", "orientation"),
    "left_out",
]


def test_a_finding_says_how_a_file_was_turned_and_what_was_left_out():
    found = attribution.Finding("a.png", "00", "user", user="bob", p_value=1e-9, stage="multistart")
    assert describe(found).endswith("by multistart)")
    told = describe(found._replace(orientation="mirrored", left_out=0.25))
    assert told.endswith("by multistart, mirrored, without 25% of the image)")


def test_an_orientation_is_told_by_what_was_done_to_the_file():
    logits, zero = np.zeros((1, 4), np.float32), np.zeros(1, np.float32)
    nothing = Estimate(logits > 0, logits, logits, zero, np.zeros(1, int), logits)
    seen = answer(nothing, Stage.MULTISTART, passes=0, orientation=5)
    assert attribution._orientation(seen, (8, 8, 3)) == "mirrored and turned by 90 degrees counter-clockwise"
    assert attribution._orientation(seen._replace(orientation=np.zeros(1, int)), (8, 8, 3)) is None


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_deployment(write_deployment(tmp_path_factory.mktemp("investigate")))


@pytest.fixture(scope="module")
def evidence(opened, tmp_path_factory):
    """Paths in this order, with the expected verdict and user of each."""
    folder = tmp_path_factory.mktemp("evidence")
    users = opened.registry.users()
    codes = np.stack([users[0].code, users[1].code, users[1].code])
    issued = issue(subject_in(opened, load_generator(opened)), codes, key=rng.root(4))
    for name, pixels in (
        ("bob", issued.marked[1]),
        ("alice", issued.marked[0]),
        ("plain", issued.plain[2]),
        ("bob-again", issued.marked[2]),
    ):
        write_image(folder / f"{name}.png", pixels)
    (folder / "text.png").write_text("no image")
    write_image(folder / "large.png", np.zeros((65, 65, 3), np.uint8))
    return [
        (folder / "bob.png", "user", "bob"),
        (folder / "text.png", "unreadable", None),
        (folder / "alice.png", "user", "alice"),
        (folder / "plain.png", "none", None),
        (folder / "missing.png", "unreadable", None),
        (folder / "large.png", "unreadable", None),
        (folder / "bob-again.png", "user", "bob"),
    ]


class Exact:
    """An exact estimator instead of the cascade; remembers the ids that it is asked about."""

    def __init__(self, monkeypatch, opened):
        self.loaded, self.space, self.status, self.asked = load_generator(opened), opened.space, Status.OK, []
        self.damage = damage.NONE
        monkeypatch.setattr(cascades, "run", self.run)

    def run(self, _, images, ids, *, decided, progress):
        self.asked.append(ids.tolist())
        encode = self.loaded.generator.encode
        assert encode is not None
        w = encode(self.loaded.params, jnp.asarray(images))
        marks = np.asarray((w - self.space.mean[None]) @ self.space.code_axes.T)
        n = len(images)
        contents = np.zeros((n, self.space.content_stds.shape[0]), np.float32)
        status = np.full(n, int(self.status))
        estimate = Estimate(marks > 0, 30 * marks, contents, np.zeros(n, np.float32), status, np.sign(marks))
        distortion = np.tile(damage.coordinates(self.damage), (n, 1))
        costs = {"passes": 7 + (marks[:, 0] > 0), "iterations": 3}
        found = answer(estimate, Stage.REFINE, distortion=distortion, **costs)
        decided(found, np.arange(n))
        progress(n, "")
        return found


@pytest.fixture
def exact(monkeypatch, opened):
    return Exact(monkeypatch, opened)


@pytest.fixture
def prepared(opened):
    """Judged once."""
    return prepare(opened, load_generator(opened), Request(method=Method.REFINE))


@pytest.mark.usefixtures("exact")
def test_every_file_is_answered_in_order(prepared, evidence):
    found = list(attribute_all(prepared, [e[0] for e in evidence]))
    assert [(f.file, f.verdict, f.user) for f in found] == [(str(p), v, u) for p, v, u in evidence]


def test_groups_change_nothing(exact, prepared, evidence, monkeypatch):
    paths = [e[0] for e in evidence]
    whole = list(attribute_all(prepared, paths))
    assert len(exact.asked) == 1
    monkeypatch.setattr(attribution, "GROUP", 2)
    parts = list(attribute_all(prepared, paths))
    assert len(exact.asked) == 1 + 3  # the third group holds nothing that can be read
    assert list(chain(*exact.asked[1:])) == exact.asked[0]
    for one, other in zip(whole, parts, strict=True):
        assert without_time(one) == without_time(other)


def test_an_image_is_known_by_its_files_hash(exact, prepared, evidence):
    (found,) = attribute_all(prepared, [evidence[0][0]])
    expected = hashlib.sha256(evidence[0][0].read_bytes()).hexdigest()
    assert found.sha256 == expected
    assert exact.asked == [[[int(expected[:8], 16) >> 1, int(expected[8:16], 16) >> 1]]]


@pytest.mark.usefixtures("exact")
def test_images_without_files_are_known_by_their_pixels(prepared, evidence):
    pixels = np.stack([read_image(evidence[i][0], size=(8, 8)) for i in (0, 2)])
    found = list(attribute_all(prepared, listed(pixels)))
    assert [(f.file, f.user) for f in found] == [("image 0", "bob"), ("image 1", "alice")]
    expected = hashlib.sha256(b"8 8 3\n" + pixels[0].tobytes()).hexdigest()
    assert found[0].sha256 == pixel_hash(pixels[0]) == expected
    with pytest.raises(ValueError, match=r"image 0 is float32 \[8, 8, 3\], expected a uint8 array"):
        list(attribute_all(prepared, [pixels[0].astype(np.float32)]))


@pytest.mark.usefixtures("exact")
def test_images_of_every_form_are_answered_alike(prepared, evidence):
    path = evidence[0][0]
    pixels = read_image(path, size=(8, 8))
    forms = listed([path, str(path), pixels, PIL.Image.fromarray(pixels), np.stack([pixels, pixels])])
    assert len(forms) == 6
    found = list(attribute_all(prepared, forms))
    assert {(f.verdict, f.user, f.p_value) for f in found} == {("user", "bob", found[0].p_value)}
    assert [f.file for f in found[2:]] == ["image 2", "image 3", "image 4", "image 5"]


@pytest.mark.usefixtures("exact")
def test_an_image_of_another_size_is_resampled_or_refused(prepared):
    large = np.zeros((9, 8, 3), np.uint8)
    (resampled,) = attribute_all(prepared, [large])
    assert resampled.verdict != "unreadable"
    assert resampled.resampled_from == (9, 8)
    (refused,) = attribute_all(prepared._replace(strict_size=True), [large])
    assert (refused.verdict, refused.sha256, refused.resampled_from) == ("unreadable", None, None)
    assert refused.status == "image 0: 8 x 9 pixels, expected 8 x 8 (width x height); ask for resizing"
    (huge,) = attribute_all(prepared, [np.zeros((65, 8, 3), np.uint8)])
    assert huge.status == (
        "image 0: 8 x 65 pixels, expected sides of 2 … 64; cut out what was generated, or resample it"
    )


@pytest.mark.parametrize(
    ("null", "verdict", "membership"),
    [
        (None, "user", None),
        (Null(np.full(1000, 8.0), np.ones(1000), Stage.MULTISTART), "inconclusive", 1 / 1001),
        (Null(np.full(1000, 9.0), np.ones(1000), Stage.MULTISTART), "user", 1.0),
        (Null(np.full(998, 8.0), np.ones(998), Stage.MULTISTART), "user", 1 / 999),
    ],
)
def test_images_out_of_distribution_name_nobody(
    opened, prepared, evidence, monkeypatch, null, verdict, membership
):
    """All bits are bob's, and the misfit is 9, which is no reason to clear anyone either."""
    code = opened.registry.user("bob").code

    def certain(_, images, __, *, decided, progress):
        del progress
        n = len(images)
        logits = np.tile(np.where(code, 5.0, -5.0).astype(np.float32), (n, 1))
        loss, status = np.full(n, 9.0, np.float32), np.zeros(n, int)
        estimate = Estimate(logits > 0, logits, np.zeros((n, 16), np.float32), loss, status, np.sign(logits))
        found = answer(estimate, Stage.MULTISTART, passes=1)
        decided(found, np.arange(n))
        return found

    monkeypatch.setattr(cascades, "run", certain)
    judging = prepared._replace(rule=prepared.rule._replace(null=null))
    (found,) = attribute_all(judging, [evidence[3][0]])
    assert found.verdict == verdict
    assert found.membership == (None if membership is None else pytest.approx(membership))


@pytest.mark.usefixtures("exact")
def test_a_finding_is_json(opened, prepared, evidence):
    found = list(attribute_all(prepared, [e[0] for e in evidence]))
    rows = [json.loads(json.dumps(f.to_json(), allow_nan=False)) for f in found]
    assert all(list(row) == FIELDS for row in rows)
    by_name = {row["file"].split("/")[-1]: row for row in rows}
    assert by_name["bob.png"]["matched_bits"] == by_name["bob.png"]["bits"] == 32
    assert by_name["bob.png"]["status"] == "ok"
    # 1 - (1 - 2^-32)^2, two users
    np.testing.assert_allclose(by_name["bob.png"]["p_value"], 2 * 2.0**-32, rtol=1e-6)
    assert by_name["plain.png"]["p_value"] > 1e-6
    first_bit = int(opened.registry.users()[1].code[0])
    cost = [by_name["bob.png"][name] for name in ("stage", "passes", "iterations")]
    assert cost == ["refine", 7 + first_bit, 3]
    assert by_name["bob.png"]["seconds"] > 0
    missing = by_name["missing.png"]
    assert (missing["matched_bits"], missing["p_value"], missing["bits"]) == (None, None, 32)
    cost = [missing[name] for name in ("stage", "passes", "iterations", "seconds", "damage")]
    assert cost == [None, 0, 0, 0.0, None]
    assert "missing.png" in missing["status"]
    assert "\n" not in missing["status"]


def test_damage_is_named_where_it_can_be_seen(exact, prepared, evidence):
    exact.damage = Damage(quality=50.0, blur=0.1)
    (found,) = attribute_all(prepared, [evidence[0][0]])
    assert found.damage == {"quality": 50.0}  # a blur of a tenth of a pixel changes nothing


def test_an_estimate_that_failed_names_nobody(exact, prepared, evidence):
    exact.status = Status.NONFINITE
    (found,) = attribute_all(prepared, [evidence[0][0]])
    assert (found.verdict, found.user, found.status) == ("inconclusive", None, "nonfinite")


def test_only_a_fit_that_explains_an_image_clears_everyone(exact, prepared, evidence):
    """Of a JPEG, ratios are too sure: a user's own was once cleared at 1.2e-6."""
    exact.damage = Damage(quality=50.0)
    assert [it.verdict for it in attribute_all(prepared, [evidence[3][0]])] == ["inconclusive"]
    exact.damage = damage.NONE
    assert [it.verdict for it in attribute_all(prepared, [evidence[3][0]])] == ["none"]


@pytest.mark.usefixtures("exact")
def test_a_file_is_read_once(prepared, evidence, tmp_path, monkeypatch):
    """A link that is flipped between hash and reading once gave 22 of 300 findings another file's hash."""
    path, read = tmp_path / "image.png", attribution.read_bytes
    path.write_bytes(evidence[0][0].read_bytes())

    def flipping(name):
        data = read(name)
        path.write_bytes(evidence[2][0].read_bytes())
        return data

    monkeypatch.setattr(attribution, "read_bytes", flipping)
    (found,) = attribute_all(prepared, [path])
    assert (found.user, found.sha256) == ("bob", hashlib.sha256(evidence[0][0].read_bytes()).hexdigest())


def test_calibration_does_not_count_for_what_was_resampled(prepared, evidence, monkeypatch):
    """Images of both kinds in one group, in their order."""
    seen = []

    def answered(judging, items, _):
        seen.append((judging.rule.null is None, [it.name for it in items]))
        return [attribution.Finding(it.name, it.sha256, "none") for it in items]

    monkeypatch.setattr(attribution, "_answered", answered)
    null = Null(np.ones(1000), np.ones(1000), Stage.MULTISTART)
    calibrated = prepared._replace(rule=prepared.rule._replace(null=null))
    large = np.zeros((16, 16, 3), np.uint8)
    found = list(attribute_all(calibrated, [large, evidence[0][0], large, "nowhere.png"]))
    assert [it.file for it in found] == ["image 0", str(evidence[0][0]), "image 2", "nowhere.png"]
    assert seen == [(False, [str(evidence[0][0])]), (True, ["image 0", "image 2"])]


@pytest.mark.usefixtures("exact")
def test_repeated_bits_are_counted_once(opened, evidence):
    """The 32 bits of a code are 16 in a registry that says that each comes twice."""
    twice = opened._replace(codebook=opened.codebook._replace(repeats=2))
    prepared = prepare(twice, load_generator(opened), Request(method=Method.REFINE, alpha=0.01))
    found = list(attribute_all(prepared, [e[0] for e in evidence[:2]]))
    assert [finding.bits for finding in found] == [16, 16]
    assert found[0].p_value is not None
    assert found[0].p_value >= 2.0**-16


def test_unreadable_files_alone_need_no_estimate(exact, prepared, evidence):
    heard = []
    (found,) = attribute_all(prepared, [evidence[1][0]], progress=lambda n, _: heard.append(n))
    assert found.verdict == "unreadable"
    assert (exact.asked, sum(heard)) == ([], 1)


@pytest.mark.usefixtures("exact")
def test_one_user_alone_is_searched_without_the_others(opened, evidence):
    loaded = load_generator(opened)
    for user, verdicts in (("bob", ["user", "none"]), ("alice", ["none", "user"])):
        prepared = prepare(opened, loaded, Request(method=Method.REFINE), user=user)
        found = list(attribute_all(prepared, [evidence[0][0], evidence[2][0]]))
        assert [it.verdict for it in found] == verdicts
        assert {it.user for it in found} == {user, None}
    with pytest.raises(ValueError, match="carol"):
        prepare(opened, loaded, user="carol")


@pytest.mark.usefixtures("exact")
def test_who_was_chosen_among_many_pays_for_them(opened, evidence):
    """The user whom a search ranked first is selected: 187 of 300 files of nobody were once proved so."""
    loaded, p = load_generator(opened), {}
    for considered in (None, 1, 1000):
        request = Request(method=Method.REFINE, considered=considered, alpha=1e-3)
        prepared = prepare(opened, loaded, request, user="bob")
        (found,) = attribute_all(prepared, [evidence[0][0]])
        p[considered] = found.p_value
    np.testing.assert_allclose([p[None] / p[1], p[1000] / p[1]], [2, 1000], rtol=1e-5)


@pytest.mark.parametrize(("committed", "verdict"), [(False, "inconclusive"), (True, "user")])
def test_a_code_that_was_supplied_proves_nothing(tmp_path, committed, verdict):
    """A picture's bits were read, given to a user, and then proved that user at 1e-18."""
    registry = open_deployment(write_deployment(tmp_path)).registry
    registry.add(["mallory"], codes=pack(~registry.user("bob").code[None]))
    opened = open_deployment(registry.path.parent)
    prepared = prepare(opened, load_generator(opened), Request(method=Method.REFINE, committed=committed))
    (said,) = prepared.rule.judge(found(code=registry.user("mallory").code[None]))
    assert said.verdict.ranked[0].user == 2
    assert (said.verdict.kind.value, np.isnan(said.verdict.p_value)) == (verdict, not committed)
    (said,) = prepared.rule.judge(found(code=registry.user("bob").code[None]))
    assert said.verdict.user == 1, "others are judged as ever"


@pytest.mark.usefixtures("exact")
def test_alpha_holds_over_a_case(opened, evidence):
    paths = [evidence[0][0], evidence[2][0], evidence[0][0], evidence[1][0]]
    request = Request(method=Method.REFINE, case=True)
    found_ = list(attribute(opened, paths, request))
    alone = [it.p_value for it in attribute(opened, paths, request._replace(case=False))]
    assert alone[3] is None
    assert [it.case_p_value for it in found_[:3]] == holm([p for p in alone if p is not None])
    strict = request._replace(alpha=1.5 * (alone[0] or 0))
    assert [it.verdict for it in attribute(opened, paths, strict)][:3] == ["inconclusive"] * 3
    assert next(iter(attribute(opened, paths, strict._replace(case=False)))).verdict == "user"


def without_time(finding):
    """A finding but for the time that it took, with an answer that can be compared."""
    return finding._replace(seconds=0.0, answer=None)


class TestCompany:
    """One deployment, the whole cascade, and files that run each of its stages."""

    @pytest.fixture(scope="class")
    def case(self, tmp_path_factory):
        """Marked, blurred and broken files, noise that nothing explains, and a copy of one of them."""
        folder = tmp_path_factory.mktemp("company")
        opened = open_deployment(write_deployment(folder, size=16))
        generate_files(opened, user="bob", count=2, out=folder / "images", seed=3, suffix="png")
        marked = sorted((folder / "images").glob("*.png"))
        noise = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3)).astype(np.uint8)
        write_image(folder / "noise.png", noise[0])
        write_image(folder / "other.png", noise[1])
        pixels = read_image(marked[0], size=None).astype(int)
        write_image(folder / "darker.png", (pixels * 0.8).astype(np.uint8))
        (folder / "torn.png").write_bytes(b"torn")
        (folder / "again.png").write_bytes((folder / "noise.png").read_bytes())
        names = ("noise.png", "torn.png", "darker.png", "other.png", "again.png")
        return opened, [*marked, *(folder / name for name in names)]

    @pytest.fixture(scope="class")
    def alone(self, case):
        """What is found of every file by itself, prepared anew each time."""
        opened, paths = case
        return {path: self.findings(opened, [path])[0] for path in paths}

    def findings(self, opened, paths):
        return list(attribute_all(prepare(opened, load_generator(opened), Request()), paths))

    def assert_same(self, found, expected):
        assert without_time(found) == without_time(expected)
        if found.answer is not None:
            for one, other in zip(found.answer.estimate, expected.answer.estimate, strict=True):
                np.testing.assert_array_equal(one, other)

    def test_files_run_several_stages(self, alone):
        assert {it.stage for it in alone.values()} >= {"refine", "multistart", None}

    @pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 2, 3, 5, 2, 4]])
    @pytest.mark.parametrize("group", [128, 2])
    def test_no_list_changes_a_finding(self, case, alone, monkeypatch, order, group):
        """First, last, after a broken file, beside its copy, and in groups: on a CPU to the last bit."""
        monkeypatch.setattr(attribution, "GROUP", group)
        opened, paths = case
        chosen = [paths[i] for i in order]
        for path, found in zip(chosen, self.findings(opened, chosen), strict=True):
            self.assert_same(found, alone[path])

    def test_copies_of_a_file_have_equal_findings(self, case, alone):
        noise, again = case[1][2], case[1][6]
        self.assert_same(alone[noise]._replace(file=""), alone[again]._replace(file=""))

    def test_other_files_have_other_starts(self, case, alone):
        noise, other = alone[case[1][2]], alone[case[1][5]]
        assert noise.stage == other.stage == "multistart"
        assert noise.sha256 != other.sha256


class TestTheLog:
    @pytest.mark.usefixtures("exact")
    def test_findings_are_entered_before_they_are_told(self, opened, evidence, monkeypatch):
        monkeypatch.setattr(attribution, "GROUP", 2)
        before = len(list(opened.registry.audit()))
        told = attribute(opened, [e[0] for e in evidence[:3]], Request(method=Method.REFINE))
        first = next(told)
        (entry,) = list(opened.registry.audit())[before:]
        assert entry.action == "attribute"
        digest = hashlib.sha256(evidence[0][0].read_bytes()).hexdigest()
        torn = hashlib.sha256(evidence[1][0].read_bytes()).hexdigest()
        images = [[digest, first.verdict, first.user, first.p_value], [torn, "unreadable", None, None]]
        subject = json.loads(entry.subject)
        assert subject["images"] == images
        asked = {
            name: subject["asked"][name] for name in ("users", "method", "alpha", "seed", "damage", "case")
        }
        assert asked == {
            "users": 2,
            "method": "refine",
            "alpha": 1e-6,
            "seed": 0,
            "damage": None,
            "case": False,
        }
        assert len(list(told)) == 2
        assert len(list(opened.registry.audit())) == before + 2  # groups have entries of their own
        opened.registry.verify_audit()

    @pytest.mark.usefixtures("exact")
    def test_one_user_is_verified(self, opened, evidence):
        list(attribute(opened, [evidence[0][0]], Request(method=Method.REFINE), user="bob"))
        entry = list(opened.registry.audit())[-1]
        assert (entry.action, json.loads(entry.subject)["asked"]["users"]) == ("verify", 2)

    @pytest.mark.usefixtures("exact")
    def test_what_cannot_be_written_is_said(self, opened, evidence, monkeypatch, capsys):
        def refuse(*_):
            raise OSError("disk full")

        monkeypatch.setattr(type(opened.registry), "record", refuse)
        assert len(list(attribute(opened, [evidence[0][0]], Request(method=Method.REFINE)))) == 1
        assert capsys.readouterr().err == "note: not in the audit log: disk full\n"
