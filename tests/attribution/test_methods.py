"""Which stages a method runs, with and without decoder and encoder; the stages: test_cascade.py."""

import numpy as np
import pytest
from linear_subject import draw_thetas, images_at, make_subject
from small_decoder import small_decoder

from latentfp import rng
from latentfp.attribution import reference
from latentfp.attribution.cascade import Budget, make_cascade, run
from latentfp.attribution.estimate import numbered
from latentfp.attribution.refine import Settings
from latentfp.attribution.whitening import whiten
from latentfp.augment import damage
from latentfp.choices import Coding, Method, Stage

N, D, BITS = 3, 24, 8
QUICK = Settings(steps=5, inner=2)
BUDGET = Budget(
    refine=QUICK, multistart=QUICK, starts=2, search=reference.STYLEGAN2._replace(starts=2, steps=3)
)
WORK = {Stage.ENCODER: 1, Stage.DECODER: 1, Stage.REFINE: 5, Stage.MULTISTART: 10, Stage.REFERENCE: 6}


@pytest.fixture(scope="module")
def subject():
    return make_subject(size=16, sigma=2.0)


@pytest.fixture(scope="module")
def with_encoder():
    return make_subject(size=16, sigma=2.0, encoder=True)


@pytest.fixture(scope="module")
def decoder():
    return small_decoder(content=D - BITS, bits=BITS)


@pytest.fixture(scope="module")
def images(subject):
    return images_at(subject, draw_thetas(N))


def without_axes(subject):
    """The subject as its basis would be if 6 of the 16 content axes had not been fitted."""
    space = subject.space
    space = space._replace(content_axes=space.content_axes[:10], content_stds=space.content_stds[:10])
    return subject._replace(space=space, whitened=whiten(space, sigma=2.0, coding=Coding.ANTIPODAL))


def never(found, _):
    return np.zeros(len(found.stage), bool)


def answered(subject, decoder, method, images, *, until=Stage.MULTISTART, first=0, decided=never, **options):
    """The answer, and the stages that may run."""
    budget = BUDGET._replace(until=until)
    cascade = make_cascade(subject, decoder, method, key=rng.root(0), budget=budget, **options)
    again = {Stage.MULTISTART: BUDGET.restart.steps} if Stage.REFINE in cascade.stages else {}
    assert all(cascade.work(stage) == {**WORK, **again}[stage] for stage in cascade.stages)
    return run(cascade, images, numbered(first, len(images)), decided=decided), cascade.stages


@pytest.mark.parametrize(
    ("method", "until", "with_decoder", "stages"),
    [
        ("auto", "MULTISTART", True, ["DECODER", "REFINE", "MULTISTART"]),
        ("auto", "DECODER", True, ["DECODER"]),
        ("auto", "REFINE", True, ["DECODER", "REFINE"]),
        ("auto", "REFERENCE", True, ["DECODER", "REFINE", "MULTISTART", "REFERENCE"]),
        ("decoder", "MULTISTART", True, ["DECODER"]),
        ("refine", "DECODER", True, ["DECODER", "REFINE"]),
        ("multistart", "DECODER", True, ["MULTISTART"]),
        ("reference", "DECODER", True, ["REFERENCE"]),
        ("auto", "MULTISTART", False, ["MULTISTART"]),
        ("auto", "DECODER", False, ["MULTISTART"]),
        ("auto", "REFERENCE", False, ["MULTISTART", "REFERENCE"]),
        ("refine", "DECODER", False, ["MULTISTART"]),
        ("multistart", "DECODER", False, ["MULTISTART"]),
        ("reference", "DECODER", False, ["REFERENCE"]),
    ],
)
def test_the_stages_of_a_method(subject, decoder, images, method, until, with_decoder, stages):
    """Nothing is decided before the last stage."""
    trained = decoder if with_decoder else None
    found, run_stages = answered(subject, trained, Method(method), images, until=Stage[until])
    assert list(run_stages) == [Stage[name] for name in stages]
    np.testing.assert_array_equal(found.stage, Stage[stages[-1]])
    np.testing.assert_array_equal(found.iterations, decoder.iterations if "DECODER" in stages else 0)


@pytest.mark.parametrize(
    ("method", "until", "with_decoder", "stages"),
    [
        ("auto", "MULTISTART", True, ["ENCODER", "DECODER", "REFINE", "MULTISTART"]),
        ("auto", "MULTISTART", False, ["ENCODER", "REFINE", "MULTISTART"]),
        ("auto", "ENCODER", False, ["ENCODER"]),
        ("encoder", "MULTISTART", True, ["ENCODER"]),
        ("decoder", "MULTISTART", True, ["DECODER"]),
        ("refine", "ENCODER", False, ["ENCODER", "REFINE"]),
        ("multistart", "MULTISTART", False, ["MULTISTART"]),
    ],
)
def test_the_stages_where_the_generator_has_an_encoder(
    with_encoder, decoder, images, method, until, with_decoder, stages
):
    trained = decoder if with_decoder else None
    found, run_stages = answered(with_encoder, trained, Method(method), images, until=Stage[until])
    assert list(run_stages) == [Stage[name] for name in stages]
    np.testing.assert_array_equal(found.stage, Stage[stages[-1]])
    iterations = ("ENCODER" in stages) + (decoder.iterations + 1) * ("DECODER" in stages)
    np.testing.assert_array_equal(found.iterations, iterations)


@pytest.mark.parametrize("method", [Method.AUTO, Method.ENCODER, Method.REFINE])
def test_where_the_basis_lacks_axes_only_the_encoder_reads(with_encoder, decoder, images, method):
    lacking = without_axes(with_encoder)
    found, run_stages = answered(lacking, decoder, method, images)
    assert run_stages == (Stage.ENCODER,)
    np.testing.assert_array_equal(found.stage, Stage.ENCODER)


@pytest.mark.parametrize("method", [Method.DECODER, Method.MULTISTART, Method.REFERENCE])
def test_where_the_basis_lacks_axes_other_methods_are_refused(with_encoder, decoder, method):
    with pytest.raises(ValueError, match="the basis holds 18 of 24 axes and not how latents vary"):
        make_cascade(without_axes(with_encoder), decoder, method, key=rng.root(0), budget=BUDGET)


def test_without_an_encoder_the_method_encoder_is_refused(subject, decoder):
    with pytest.raises(ValueError, match="a linear has no encoder: use another method"):
        make_cascade(subject, decoder, Method.ENCODER, key=rng.root(0), budget=BUDGET)


def test_without_a_decoder_the_method_decoder_is_refused(subject):
    with pytest.raises(ValueError, match=r"no decoder: train and `latentfp adopt` one, or use multistart"):
        make_cascade(subject, None, Method.DECODER, key=rng.root(0), budget=BUDGET)


def test_auto_stops_where_it_is_decided_and_other_methods_do_not(subject, decoder, images):
    def second(found, _):
        return np.arange(len(found.stage)) == 1

    found, _ = answered(subject, decoder, Method.AUTO, images, until=Stage.REFINE, decided=second)
    np.testing.assert_array_equal(found.stage, [Stage.REFINE, Stage.DECODER, Stage.REFINE])
    found, _ = answered(subject, decoder, Method.REFINE, images, decided=second)
    np.testing.assert_array_equal(found.stage, Stage.REFINE)


def test_only_auto_stops_where_a_code_is_written(subject, decoder):
    for method in (Method.AUTO, Method.REFINE):
        made = make_cascade(subject, decoder, method, key=rng.root(0), budget=Budget())
        assert (made.budget.refine.near > 0) == (method is Method.AUTO)


def test_stages_above_add_to_the_cost(subject, decoder, images):
    few, _ = answered(subject, decoder, Method.AUTO, images, until=Stage.DECODER)
    more, _ = answered(subject, decoder, Method.AUTO, images, until=Stage.REFINE)
    assert (np.asarray(more.passes) > np.asarray(few.passes)).all()
    np.testing.assert_array_equal(more.estimate.code, draw_thetas(N)[:, -BITS:] > 0)


def test_starts_follow_from_ids(subject, images):
    """The starts of the reference search follow from it."""
    whole, _ = answered(subject, None, Method.REFERENCE, images, first=5)
    part, _ = answered(subject, None, Method.REFERENCE, images[1:], first=6)
    other, _ = answered(subject, None, Method.REFERENCE, images[1:], first=7)
    np.testing.assert_array_equal(part.estimate.loss, whole.estimate.loss[1:])
    assert (np.asarray(other.estimate.loss) != np.asarray(part.estimate.loss)).all()


def test_known_damage_reaches_the_descents(subject, decoder, images):
    """A damage that leaves no trace in the comparison, so that nothing but its coordinates changes."""
    known = np.asarray(damage.coordinates(damage.Damage(noise=0.01)))
    for method in (Method.REFINE, Method.MULTISTART):
        found, _ = answered(subject, decoder, method, images, known=known)
        np.testing.assert_allclose(found.distortion, np.tile(known, (N, 1)), atol=1e-6)


def test_auto_stops_at_confident_bits_unless_it_is_told_when(subject, images):
    """Multistart explains the clean images of a linear generator exactly, and auto asks nobody else."""
    found, _ = answered(subject, None, Method.AUTO, images, until=Stage.REFERENCE, decided=None)
    sure = np.abs(np.asarray(found.estimate.logits)).min(axis=1) > 10
    assert sure.any()
    np.testing.assert_array_equal(np.asarray(found.stage)[sure], Stage.MULTISTART)
