"""What a caller of the reference search relies on: chunks, devices and compilation cannot be seen."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_search import BRIEF, DIM, SIGMA, assert_same, energy

from latentfp import rng
from latentfp.attribution.estimate import numbered
from latentfp.attribution.reference import attribute_images
from latentfp.choices import Coding
from latentfp.generators import linear
from latentfp.runtime import mesh


@pytest.mark.parametrize("pairs", [1, 3, 8])
def test_chunks_cannot_be_seen(search, images, found, pairs):
    chunked = search(images, pairs_per_chunk=pairs)
    np.testing.assert_array_equal(chunked.codes, found.codes)
    assert_same(chunked.losses, found.losses)
    assert_same(chunked.estimate.content, found.estimate.content)


def test_later_images_of_a_run_can_be_searched_apart(search, images, found):
    assert_same(search(images[4:], ids=numbered(4, 2)).losses, found.losses[4:])


def test_files_and_device_arrays_are_searched_alike(search, images, found):
    assert_same(search(np.asarray(images)).losses, found.losses)


@pytest.mark.slow
def test_one_program_serves_all_chunks_strengths_and_images(generator, params, space, images):
    traced = []

    def synthesize(params, w):
        traced.append(w.shape)
        return generator.synthesize(params, w)

    run = partial(
        attribute_images,
        generator._replace(synthesize=synthesize),
        params,
        space,
        key=rng.root(1),
        distance=energy,
        pairs_per_chunk=8,
    )
    run(images, sigma=1.0, coding=Coding.ANTIPODAL, settings=BRIEF)
    once = len(traced)
    run(images[:5], sigma=0.7, coding=Coding.BINARY, settings=BRIEF)
    run(images[1:], sigma=0.7, coding=Coding.BINARY, settings=BRIEF._replace(steps=70, penalty=0.0))
    assert set(traced) == {(8, DIM)}
    assert len(traced) == once


def test_progress_counts_the_updates_of_all_pairs(search, images):
    heard = []
    search(images[:5], pairs_per_chunk=8, settings=BRIEF._replace(steps=70), progress=heard.append)
    assert sum(heard) == 5 * 4 * 70
    assert len(heard) == 3 * 2


@pytest.mark.slow
def test_the_number_of_devices_cannot_be_seen(images, found, params, space, generator):
    over = mesh.data_mesh(8)
    there, space_there = mesh.replicate(over, (params, space))
    spread = attribute_images(
        generator,
        there,
        space_there,
        images,
        key=rng.root(7),
        sigma=SIGMA,
        coding=Coding.ANTIPODAL,
        distance=energy,
        settings=BRIEF,
        place=partial(mesh.shard_batch, over),
        multiple=8,
    )
    np.testing.assert_array_equal(spread.codes, found.codes)
    assert_same(spread.losses, found.losses)


def test_a_distance_brings_its_weights(search, images, found):
    def weighted(weight, target, image):
        return weight * energy(target, image)

    twice = search(images, distance=jax.tree_util.Partial(weighted, jnp.array(2.0)))
    once = search(images, distance=jax.tree_util.Partial(weighted, jnp.array(1.0)))
    assert_same(once.losses, found.losses)
    assert (twice.losses != found.losses).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": BRIEF._replace(starts=0)}, "0 starts"),
        ({"settings": BRIEF._replace(steps=0)}, "0 steps"),
    ],
)
def test_impossible_settings_are_refused(search, images, changes, message):
    with pytest.raises(ValueError, match=message):
        search(images, **changes)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 9, 8, 3)])
def test_images_of_another_size_are_refused(search, shape):
    with pytest.raises(ValueError, match="resize"):
        search(np.zeros(shape, np.float32))


def test_a_space_of_another_generator_is_refused(images, params, space):
    other = linear.make(latent_dim=DIM + 1)
    with pytest.raises(ValueError, match="fit the basis"):
        attribute_images(
            other, params, space, images, key=rng.root(0), sigma=1.0, coding=Coding.BINARY, distance=energy
        )
