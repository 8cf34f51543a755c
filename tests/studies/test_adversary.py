"""An adversary of the decoder, on a linear generator with a decoder that nobody trained."""

import jax.numpy as jnp
import numpy as np
import pytest
import small_study

from latentfp.attribution.cascade import DecisionRule
from latentfp.attribution.estimate import Estimate, answer
from latentfp.attribution.ranking import among
from latentfp.choices import Method, Stage
from latentfp.pixels import to_float
from latentfp.studies import adversary
from latentfp.studies.adversary import Settings
from latentfp.studies.context import open_context

PLAN = {
    **{"deployment": "", "holds": ("decoder", "weights"), "images": 3, "radii": (2.0, 6.0)},
    **{"steps": 15, "users": 10, "alpha": 1e-2},
}


def study(deployment, workdir, **changes):
    return small_study.run(
        adversary, Settings(**{**PLAN, "deployment": str(deployment), **changes}), workdir, seed=4
    )


@pytest.fixture(scope="module")
def measured(deployment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("adversary")
    return workdir, study(deployment, workdir)


@pytest.mark.slow
def test_changes_keep_to_their_radius(measured):
    rows = measured[1]["rows"]
    aims = [("decoder", "erase"), ("decoder", "forge")]
    aims += [("weights", aim) for aim in ("erase", "forge", "transplant")]
    assert [(row["holds"], row["aim"], row["radius"]) for row in rows] == [
        (*aim, radius) for aim in aims for radius in (2.0, 6.0)
    ]
    for row in rows:
        assert 0 < row["largest_change"] <= row["radius"]


@pytest.mark.parametrize(("radius", "reached"), [(0.2, False), (4.0, True)])
def test_files_are_moved_until_the_reader_reads_the_target(radius, reached):
    """A linear reader of 48 values: 4 levels suffice for its 4 bits, a fifth of one does not."""
    mixing = np.random.default_rng(1).normal(size=(48, 4)).astype(np.float32)

    def logits(images):
        return images.reshape(len(images), -1) @ mixing

    files = np.full((3, 4, 4, 3), 128, np.uint8)
    target = np.array([[0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0]], bool)
    moved = adversary._moved(logits, files, target, radius, 60, 0)
    read = np.asarray(logits(moved / 127.5 - 1)) > 0
    assert np.array_equal(read, target) == reached


@pytest.mark.slow
def test_nothing_is_measured_twice(measured, deployment, monkeypatch):
    workdir, result = measured
    monkeypatch.setattr(adversary, "answers", None)
    assert study(deployment, workdir) == result


def read_as(code):
    logits = jnp.where(jnp.asarray(code), 6.0, -6.0)
    zeros = jnp.zeros(len(code))
    return answer(
        Estimate(logits > 0, logits, zeros[:, None], zeros, zeros.astype(int), logits), Stage.REFINE, passes=0
    )


def test_owners_victims_and_others_are_told_apart():
    """64 sure bits: 9 wrong ones have a chance of 1.6e-9, which a thousand users make 1.6e-6."""
    settings = Settings("", (), 4, (), 1, 1000, 1e-6)
    book = np.random.default_rng(0).integers(2, size=(1000, 64)).astype(bool)
    read = book[[0, 1, 2 + 4, 500]]  # two owners, a victim, and somebody else
    read[0, :8] ^= True
    read[1, :9] ^= True
    rule = DecisionRule(among(book), settings.alpha)
    found = adversary._said(read_as(read), rule, book, settings)
    assert (found["own"]["named"], found["other"]["named"], found["others_named"]) == (1, 1, 1)
    assert found["own"]["bits"] == (read == book[:4]).mean()
    assert found["other"]["bits"] == (read == book[4:8]).mean()


@pytest.mark.slow
@pytest.mark.parametrize("aim", ["forge", "transplant"])
def test_whoever_has_the_weights_writes_another_users_mark(deployment, aim):
    """Without a limit on the change, it is as if that user's copy had made the file."""
    settings = Settings(**{**PLAN, "deployment": str(deployment)})
    context = open_context(deployment, seed=4)
    book = adversary._book(context, settings)
    files = adversary._files(context, settings, book, owners=True)
    move = adversary._by_weights(context, settings, book)
    forged = move(files, aim, 255.0)
    read = np.asarray(adversary.answers(context, Method.REFINE, to_float(forged), label="").estimate.code)
    assert (read == book[3:6]).mean() > 0.95
    assert np.array_equal(move(files, aim, 0.0), files)


def test_adversaries_are_known(deployment, tmp_path):
    with pytest.raises(ValueError, match=r"\['luck'\]: expected some of decoder, weights"):
        study(deployment, tmp_path, holds=("luck",))


def test_every_file_needs_an_owner_and_a_victim(deployment, tmp_path):
    with pytest.raises(ValueError, match="expected at least 6 users"):
        study(deployment, tmp_path, users=5)


@pytest.mark.slow
def test_the_default_method_names_nobody_on_a_reading_alone(measured):
    """Where it names the owner or the victim, so does the descent from the same reading."""
    rows = measured[1]["rows"]
    assert any(row["decoder"]["other"]["bits"] > row["refine"]["other"]["bits"] for row in rows)
    for row in rows:
        assert row["auto"]["others_named"] == 0
        assert row["auto"]["own"]["named"] >= row["refine"]["own"]["named"]


def test_something_must_be_there_to_deceive(bare_deployment, tmp_path):
    with pytest.raises(ValueError, match="has no decoder that anybody could hold"):
        study(bare_deployment, tmp_path)
