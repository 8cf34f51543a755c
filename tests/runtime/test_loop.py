import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import mean_image
import numpy as np
import pytest
from mean_image import rows_of, saved_steps
from PIL import Image
from tolerances import SAME_PROGRAM

from latentfp import rng
from latentfp.runtime.checkpoint import open_checkpoints

TESTS = Path(mean_image.__file__).parent

# Runs are compared bit for bit with those of processes of their own, which optimise what they compile.
pytestmark = pytest.mark.optimised


@pytest.fixture(autouse=True)
def without_clu(monkeypatch):
    monkeypatch.setitem(sys.modules, "clu", None)


def assert_identical(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def adam_oracle(steps):
    """The toy's run restated in float64 NumPy; only the random numbers are JAX's."""
    root = rng.root(7)
    image = np.float64(jax.random.uniform(rng.stream(root, "init"), (mean_image.SIZE, mean_image.SIZE, 3)))
    average, first, second, losses, factors = image.copy(), 0.0, 0.0, [], []
    source = mean_image.batches(0)
    for step in range(steps):
        data = next(source) / 127.5 - 1
        noise = 0.1 * np.float64(jax.random.uniform(rng.stream(root, "update", step, 0), data.shape))
        residual = image - data - noise
        losses.append((residual**2).mean())
        gradient = 2 * residual.mean(axis=0) / image.size
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        direction = first / (1 - 0.9 ** (step + 1)) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
        image = image - 0.05 * direction
        average = 0.9 * average + 0.1 * image
        if step % 4 == 0:
            factors.append(0.9 + 0.1 * float(jax.random.uniform(rng.stream(root, "update", step, 1))))
            image = factors[-1] * image
    return image, average, losses, factors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the final state of a run of 45 steps that nothing interrupted."""
    folder, traces = tmp_path_factory.mktemp("whole"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "clu", None)
        state = mean_image.run(folder, 45, traces=traces)
    assert len(traces) == 1  # compiled once
    return folder, state


def test_training_is_the_algorithm_it_says(whole):
    folder, state = whole
    image, average, losses, factors = adam_oracle(45)
    # Adam divides by the root of 1 - 0.999^t, in float32 wrong by 2^-24 / (1 - 0.999^t) = 6e-5 / t, half of
    # it in the root: 45 steps of 0.05 add up to 0.05 * 3e-5 * (1 + 1/2 + ... + 1/45) = 7e-6; three times that
    np.testing.assert_allclose(state["image"], image, rtol=0, atol=2e-5)
    np.testing.assert_allclose(state["average"], average, rtol=0, atol=2e-5)
    logged = [row for row in rows_of(folder) if "loss" in row]
    assert [row["step"] for row in logged] == [5, 10, 15, 20, 25, 30, 35, 40, 45]
    means = np.reshape(losses, (9, 5)).mean(axis=1)
    np.testing.assert_allclose([row["loss"] for row in logged], means, rtol=1e-4)
    np.testing.assert_allclose(logged[0]["factor"], np.mean(factors[:2]), rtol=1e-6)  # of steps 0 and 4
    assert saved_steps(folder) == [40, 45]


def test_pictures_and_evaluations_come_on_schedule(whole):
    folder, state = whole
    names = [f"000000{step}.png" for step in (20, 40, 45)]
    assert sorted(path.name for path in (folder / "previews").iterdir()) == names
    images = mean_image.preview(state, rng.stream(rng.root(7), "preview"))
    sheet = np.asarray(Image.open(folder / "previews/00000045.png"))
    first = np.clip((np.asarray(images[0], np.float64) + 1) * 127.5, 0, 255)
    assert np.abs(sheet[:4, :4] - first).max() <= 0.5 + 1e-4  # rounding to 8 bits
    distances = {row["step"]: row["distance"] for row in rows_of(folder) if "distance" in row}
    assert list(distances) == [20, 40, 45]
    np.testing.assert_allclose(distances[45], np.abs(state["image"] - state["average"]).mean(), rtol=1e-6)


@pytest.mark.slow
def test_a_run_killed_and_resumed_is_the_uninterrupted_run(whole, tmp_path):
    folder, expected = whole
    command = [sys.executable, str(TESTS / "mean_image.py"), str(tmp_path), "45", "SIGKILL", "37"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert saved_steps(tmp_path) == [20, 30]
    assert rows_of(tmp_path)[-1]["step"] == 35  # past the checkpoint: to be written again
    assert_identical(mean_image.run(tmp_path, 45), expected)
    assert rows_of(tmp_path) == rows_of(folder)
    for picture in (folder / "previews").iterdir():
        assert picture.read_bytes() == (tmp_path / "previews" / picture.name).read_bytes()


@pytest.mark.slow
def test_sigterm_finishes_the_step_and_saves(whole, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        mean_image.run(tmp_path, 45, source=mean_image.at_step(13, signal.SIGTERM))
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert saved_steps(tmp_path) == [10, 14]  # step 13 counts from 0
    assert_identical(mean_image.run(tmp_path, 45), whole[1])


def test_a_run_outside_the_main_thread_does_without_signals(whole):
    folder, state = whole
    results = []
    thread = threading.Thread(target=lambda: results.append(mean_image.run(folder, 45)))
    thread.start()
    thread.join()
    assert_identical(results, [state])


def test_what_the_run_is_for_is_exported(whole):
    folder, state = whole
    np.testing.assert_array_equal(np.load(folder / "export/image.npy"), state["image"])


def test_a_finished_run_asks_for_no_data(whole):
    folder, state = whole
    rows = rows_of(folder)
    assert_identical(mean_image.run(folder, 45, source=lambda _: pytest.fail("asked")), state)
    assert rows_of(folder) == rows


def assert_close(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **SAME_PROGRAM)


@pytest.mark.slow
def test_the_number_of_devices_cannot_be_seen(whole, tmp_path):
    assert len(jax.devices()) == 8
    folder, alone = whole
    many = mean_image.run(tmp_path, 45, devices=8)
    assert len(many["image"].addressable_shards) == 8
    assert_close(many, alone)
    assert_close(rows_of(tmp_path), rows_of(folder))


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(whole, tmp_path):
    folder, state = whole
    shutil.copytree(folder / "checkpoints/40", tmp_path / "checkpoints/40")
    assert_close(mean_image.run(tmp_path, 45, devices=2), state)


def test_a_step_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path):
    with pytest.raises(FloatingPointError, match=r"step 17 is not finite: \{'loss': nan\}"):
        mean_image.run(tmp_path, 40, nan_at=16, log_every=100)
    assert saved_steps(tmp_path) == [10]
    assert rows_of(tmp_path) == []


def test_a_checkpoint_of_another_program_is_not_resumed(tmp_path):
    checkpoints = open_checkpoints(tmp_path, keep=1)
    checkpoints.save(5, {"image": np.zeros((4, 4, 3), np.float32)})
    checkpoints.close()
    with pytest.raises(ValueError, match=r"checkpoint 5 does not fit this program: missing \['average'"):
        mean_image.run(tmp_path, 10)


def test_data_that_end_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the data ended after 0 steps"):
        mean_image.run(tmp_path, 5, source=lambda _: iter([]))


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path):
    with pytest.raises(ValueError, match="16 rows cannot be split over 3 devices"):
        mean_image.run(tmp_path, 5, devices=3)


def test_a_duration_is_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="log_every is 0"):
        mean_image.run(tmp_path, 5, log_every=0)
