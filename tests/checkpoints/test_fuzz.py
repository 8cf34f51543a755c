"""Readers of strangers' files, fuzzed for seconds here and for as long as one likes by fuzzing.py."""

import shutil
from pathlib import Path

import fuzzing
import pytest
from fuzzing import KINDS, MEBIBYTES, attempt, fuzz

CORPUS = Path(__file__).parent / "fuzz_corpus"  # KIND-what.suffix: what fuzzing found once


def found_by(kind, seconds, tmp_path):
    found = fuzz(KINDS[kind], seconds=seconds, seed=1, folder=tmp_path)
    assert found.failures == [], [wrong for wrong, _ in found.failures]
    assert found.executions > 20 * seconds
    assert found.peak < MEBIBYTES


@pytest.mark.parametrize("kind", KINDS)
def test_a_moment(kind, tmp_path):
    found_by(kind, 0.5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_minute_for_all_kinds(kind, tmp_path):
    found_by(kind, 60 / len(KINDS), tmp_path)


@pytest.mark.parametrize(
    "path", sorted(CORPUS.iterdir()) if CORPUS.is_dir() else [], ids=lambda path: path.name
)
def test_what_was_found_once(path, tmp_path):
    found = shutil.copy(path, tmp_path)  # beside which some readers write
    fault, seconds = attempt(KINDS[path.name.partition("-")[0].replace("_", " ")], Path(found))
    assert fault is None or not fault.startswith("!")
    assert seconds < fuzzing.SECONDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_is_changed_into_something_else(kind):
    """A fuzzer whose inputs are all alike finds nothing."""
    chance, seeds = fuzzing.random.Random(3), list(KINDS[kind].seeds())
    made = {fuzzing.mutated(chance, seeds) for _ in range(200)}
    assert len(made) > 150


def test_a_failure_is_found(tmp_path):
    """Readers that crash, and that print what a terminal obeys."""

    def crash(path):
        raise RecursionError(path)

    def shout(path):
        raise ValueError(f"\x1b[2J{path}")

    for read in (crash, shout):
        kind = KINDS["tables"]._replace(read=read)
        assert fuzz(kind, seconds=0.05, seed=0, folder=tmp_path).failures
