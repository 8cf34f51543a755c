"""The order of examples, sources in memory and on disk, batches ahead of time, data sets by name."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentfp.data import avatars, pipeline
from latentfp.data.datasets import Avatars
from latentfp.data.pipeline import Source, batches, default_data_dir, indices, open_source

PIXELS = np.random.default_rng(57).integers(0, 256, (11, 8, 8, 3), np.uint8)


def source(size=4, memory=pipeline.MEMORY, read=PIXELS.__getitem__):
    """Eleven images."""
    return Source(len(PIXELS), read, size=size, memory=memory)


def stream(n, batch, seed, steps):
    """The examples of some steps, one after the other."""
    return np.concatenate([indices(n, batch, seed=seed, step=step) for step in steps])


@pytest.mark.parametrize(("n", "batch"), [(12, 4), (13, 4), (7, 7), (5, 12), (1, 3), (1000, 64)])
def test_every_example_comes_once_an_epoch(n, batch):
    epochs = 4
    order = stream(n, batch, 3, range(-(-epochs * n // batch)))[: epochs * n].reshape(epochs, n)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(n), (epochs, 1)))


def test_epochs_and_seeds_differ_and_examples_are_mixed():
    first, second = stream(1000, 100, 0, range(20)).reshape(2, 1000)
    other = stream(1000, 100, 1, range(10))
    # two random orders agree in about one place; 12 or more has a chance below 1e-9 (Poisson with mean 1)
    for a, b in itertools.combinations([first, second, other, np.arange(1000)], 2):
        assert (a == b).sum() < 12


def test_the_batch_size_does_not_change_the_order():
    np.testing.assert_array_equal(stream(50, 8, 1, range(25)), stream(50, 20, 1, range(10)))


def test_the_order_is_the_same_everywhere():
    """Written down once: a change would make resumed runs differ from uninterrupted ones."""
    assert indices(10, 10, seed=0, step=0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]


@pytest.mark.parametrize(
    ("n", "batch", "seed", "step"), [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -1, 0), (1, 1, 0, -1)]
)
def test_sizes_out_of_range_are_refused(n, batch, seed, step):
    with pytest.raises(ValueError, match=f"got {n} examples, batch {batch}, seed {seed}, step {step}"):
        indices(n, batch, seed=seed, step=step)


@pytest.mark.parametrize("memory", [0, 11 * 4 * 4 * 3 - 1, 11 * 4 * 4 * 3])
def test_memory_and_disk_give_the_same_area_averages(memory):
    reads = []

    def read(rows):
        reads.append(rows)
        return PIXELS[rows]

    images = source(memory=memory, read=read)
    whole = len(reads)
    chosen = np.array([10, 0, 3, 3])
    means = PIXELS[chosen].reshape(4, 4, 2, 4, 2, 3).astype(np.float64).mean(axis=(2, 4))
    np.testing.assert_array_equal(images.images(chosen), np.floor(means + 0.5))
    fits = memory == 11 * 4 * 4 * 3
    assert (whole, len(reads)) == ((1, 1) if fits else (0, 1))


def test_filling_the_memory_in_parts(monkeypatch):
    monkeypatch.setattr(pipeline, "READ_AT_ONCE", 3)
    np.testing.assert_array_equal(source(size=8).images(np.arange(11)), PIXELS)


@pytest.mark.parametrize("wrong", [[-1], [11], [0, 99]])
def test_an_index_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="expected 0 to 10"):
        source().images(np.array(wrong))


def test_batches_are_those_of_their_steps_and_resuming_is_continuing():
    images = source()
    whole = list(itertools.islice(batches(images, batch=4, seed=9, first_step=0), 8))
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(batch, images.images(indices(11, 4, seed=9, step=step)))
    resumed = itertools.islice(batches(images, batch=4, seed=9, first_step=5), 3)
    np.testing.assert_array_equal(list(resumed), whole[5:])


def test_batches_are_read_ahead_by_a_thread_that_ends_with_the_iteration():
    second = threading.Event()
    calls = itertools.count(1)

    def read(rows):
        if next(calls) == 2:
            second.set()
        return PIXELS[rows]

    stream = batches(source(memory=0, read=read), batch=2, seed=0, first_step=0)
    next(stream)
    assert second.wait(timeout=30), "the second batch was not read before it was asked for"
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_while_reading_reaches_the_consumer():
    def read(rows):
        raise OSError(f"disk gone at {len(rows)}")

    with pytest.raises(OSError, match="disk gone at 2"):
        next(batches(source(memory=0, read=read), batch=2, seed=0, first_step=0))


@pytest.mark.parametrize(("dataset", "style"), [("avatars", "toon_head"), ("avatars/personas", "personas")])
def test_opening_avatars_by_name(dataset, style, tmp_path, monkeypatch):
    for config in Avatars.builder_configs.values():
        monkeypatch.setattr(config, "splits", {"train": range(3), "validation": range(3, 5)})
    images = open_source(dataset, split="validation", size=32, data_dir=tmp_path)
    whole = avatars.render_many(style, range(3, 5)).astype(np.float64)
    means = whole.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(images.images(np.arange(2)), np.floor(means + 0.5))


def test_opening_a_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    images = open_source(str(folder), split="train", size=8, data_dir=tmp_path / "data")
    np.testing.assert_array_equal(images.images(np.arange(11)), PIXELS)
    with pytest.raises(ValueError, match="no split 'test': folder has train"):
        open_source(str(folder), split="test", size=8, data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("dataset", "size", "message"),
    [
        ("avatars/nobody", 32, "no avatar style 'nobody': choose one of"),
        ("avatars", 48, "size 48, but avatars are 64 x 64"),
        ("avatars", 128, "size 128, but avatars are 64 x 64"),
        ("./avatars", 32, "no folder .*: name a folder of images, or avatars"),
    ],
)
def test_wrong_names_and_sizes_fail_before_anything_is_made(dataset, size, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        open_source(dataset, split="train", size=size, data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_data_dir_is_the_users_choice(monkeypatch):
    monkeypatch.setenv("LATENTFP_DATA", "/somewhere")
    assert default_data_dir() == Path("/somewhere")
    monkeypatch.delenv("LATENTFP_DATA")
    assert default_data_dir() == Path.home() / ".cache" / "latentfp"
