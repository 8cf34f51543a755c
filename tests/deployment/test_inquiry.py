"""From the options of a command to a budget, a damage, a decoder, and to what suffices as an answer."""

import jax.numpy as jnp
import numpy as np
import pytest
from linear_space import write_deployment
from small_decoder import write_decoder

from latentfp.attribution import reference
from latentfp.attribution.estimate import Estimate, Status, answer
from latentfp.attribution.ranking import among
from latentfp.attribution.refine import SOLVED
from latentfp.augment import damage
from latentfp.augment.damage import Damage
from latentfp.choices import Method, Stage
from latentfp.deployment import decoders, inquiry
from latentfp.deployment.deployment import load_generator, open_deployment
from latentfp.deployment.inquiry import (
    Request,
    choose_budget,
    find_decoder,
    known_damage,
    stage_by_stage,
    sufficient,
)
from latentfp.deployment.methods import Budget, subject_in
from latentfp.generators import linear
from latentfp.generators.generator import PaperSearch

pytestmark = pytest.mark.usefixtures("quick_compile")
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


class TestKnownDamage:
    def test_nothing_said_is_nothing_known(self):
        assert known_damage(None) is None

    def test_what_is_not_named_is_not_there(self):
        found = known_damage({"quality": 50.0, "blur": 0.7})
        assert found is not None
        np.testing.assert_allclose(found, damage.coordinates(Damage(quality=50.0, blur=0.7)), rtol=1e-6)
        np.testing.assert_array_equal(known_damage({}), np.zeros(damage.SIZE))

    @pytest.mark.parametrize("strengths", [{"acid": 1.0}, {"blur": np.nan}, {"quality": np.inf}])
    def test_what_does_not_exist_is_refused(self, strengths):
        with pytest.raises(ValueError, match="expected finite strengths of degrees, scale, down"):
            known_damage(strengths)


def found(*, code, stage=Stage.REFINE, loss=1.0, status=Status.OK, harm=damage.NONE):
    logits = jnp.where(jnp.asarray(code), 3.0, -3.0)
    estimate = Estimate(
        jnp.asarray(code), logits, jnp.zeros((1, 4)), jnp.full(1, loss), jnp.full(1, int(status)), logits
    )
    return answer(estimate, stage, passes=1, damage=damage.coordinates(harm)[None])


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
    decided = sufficient(among(BOOK), alpha=1e-6)
    assert decided(found(**{"code": NOBODY, **changed})).tolist() == [suffices]


def test_whoever_is_judged_at_several_stages_pays_for_each(tmp_path):
    """auto runs the encoder, a descent and the search from several starts; other methods judge once."""
    loaded = load_generator(opened := open_deployment(write_deployment(tmp_path)))
    subject = subject_in(opened, loaded)
    users = among(BOOK, surplus=2.0)
    surplus = [
        stage_by_stage(users, m, subject, None, Budget()).surplus for m in (Method.AUTO, Method.REFINE)
    ]
    assert surplus == [6.0, 2.0]


def test_repeated_bits_count_once():
    """Among 3 users 48 of 64 bits have a p-value of 1e-4, but as 12 of 16 that come four times one of 0.1."""
    book = np.repeat(np.asarray(BOOK)[:, ::4], 4, axis=1)
    answer = found(code=np.concatenate([~book[1:2, :16], book[1:2, 16:]], axis=1), loss=50.0)
    assert sufficient(among(book), alpha=0.05)(answer).tolist() == [True]
    assert sufficient(among(book, repeats=4), alpha=0.05)(answer).tolist() == [False]


def test_what_suffices_is_asked_for_the_message_of_the_manifest(tmp_path, monkeypatch):
    opened = open_deployment(write_deployment(tmp_path))
    opened = opened._replace(codebook=opened.codebook._replace(repeats=2))
    asked = []
    monkeypatch.setattr(inquiry, "sufficient", lambda users, alpha: asked.append((users, alpha)))
    found = list(inquiry.inquire(opened, load_generator(opened), [], Request(alpha=0.01)))
    ((users, alpha),) = asked
    assert (found, users[:3], alpha) == ([], (2, 16, 2), 0.01)
    assert users.surplus == 3  # auto judges after the encoder, a descent and several starts


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
            write_decoder(tmp_path / name, opened, looks=n) for name, n in (("own", 2), ("other", 3))
        )
        decoders.adopt(opened, own)
        for request, looks in ((Request(), 2), (Request(decoder=other), 3)):
            trained = find_decoder(opened, bare, request)
            assert trained is not None
            assert trained.looks == looks
        assert find_decoder(opened, bare, Request(method=Method.MULTISTART, decoder=other)) is None
        assert capsys.readouterr().err == ""


def test_lpips_and_its_weights_need_each_other(tmp_path):
    for name, vgg in (("lpips", None), ("multiscale", tmp_path / "vgg.pth")):
        with pytest.raises(ValueError, match="need each other"):
            inquiry.choose_distance(name, vgg)
    assert inquiry.choose_distance("multiscale", None) is inquiry.MULTISCALE
