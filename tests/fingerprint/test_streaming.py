"""Leading axes of one pass against the whole decomposition, and summaries that merge in any order."""

import os
import subprocess
import sys
from functools import reduce

import numpy as np
import pytest
from linear_space import write_generator

from latentfp.deployment import fitting
from latentfp.fingerprint.basis import fit_basis, split
from latentfp.fingerprint.streaming import fit_leading, leading, merge, summarise
from latentfp.generators import pretrained

N, D, AXES = 400, 60, 12
KEEP = 30  # fewer rows than dimensions


@pytest.fixture(scope="module")
def samples():
    draw = np.random.default_rng(6)
    rotation = np.linalg.qr(draw.standard_normal((D, D)))[0]
    spread = draw.standard_normal((N, D)) * 0.8 ** np.arange(D)
    return (spread @ rotation + 3 * draw.standard_normal(D)).astype(np.float32)


def in_batches(samples, size=37):
    return (samples[i : i + size] for i in range(0, len(samples), size))


def test_they_are_those_of_the_whole_decomposition(samples):
    whole, found = fit_basis(samples), fit_leading(in_batches(samples), axes=AXES)
    assert found.axes.shape == (AXES, D)
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(found.stds, whole.stds[:AXES], rtol=1e-4)
    np.testing.assert_allclose(found.axes, whole.axes[:AXES], atol=2e-3)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(AXES), atol=1e-5)
    np.testing.assert_allclose(found.rest_std, np.sqrt(np.mean(np.square(whole.stds[AXES:]))), rtol=1e-4)


def test_what_is_dropped_on_the_way_costs_little():
    """Axes that are as many as a half of the rows that are kept, of a spectrum that falls slowly."""
    draw = np.random.default_rng(8)
    slow = (draw.standard_normal((4000, 300)) / np.sqrt(1 + np.arange(300))).astype(np.float32)
    whole, found = fit_basis(slow), fit_leading(in_batches(slow, 500), axes=40)
    np.testing.assert_allclose(found.stds, whole.stds[:40], rtol=0.02)
    inside = np.linalg.norm(np.asarray(found.axes) @ np.asarray(whole.axes[:32]).T) ** 2 / 32
    assert inside > 0.995


def test_summaries_merge_in_any_order(samples):
    parts = [summarise(part) for part in in_batches(samples)]
    exact = reduce(lambda a, b: merge(a, b, keep=D), parts)
    for order in (parts[::-1], parts[5:] + parts[:5]):
        found = reduce(lambda a, b: merge(a, b, keep=D), order)
        np.testing.assert_allclose(found.mean, exact.mean, atol=1e-10)
        np.testing.assert_allclose(found.trace, exact.trace)
        np.testing.assert_allclose(
            found.rows.T @ found.rows, exact.rows.T @ exact.rows, atol=1e-8 * exact.trace
        )
    halves = (reduce(lambda a, b: merge(a, b, keep=KEEP), some) for some in (parts[:4], parts[4:]))
    one = leading(merge(*halves, keep=KEEP), axes=5)
    np.testing.assert_allclose(one.stds, leading(exact, axes=5).stds, rtol=1e-4)


def test_fewer_samples_than_dimensions_are_enough(samples):
    few = samples[:40]
    values = np.linalg.svd(few - few.mean(axis=0), compute_uv=False)[:5] / np.sqrt(39)
    np.testing.assert_allclose(fit_leading([few], axes=5).stds, values, rtol=1e-3)


def test_a_flat_spectrum_still_gives_orthonormal_axes_of_the_right_size():
    flat = np.random.default_rng(7).standard_normal((3000, 50)).astype(np.float32)
    found = fit_leading(in_batches(flat, 500), axes=20)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(20), atol=1e-5)
    np.testing.assert_allclose(np.std(flat @ found.axes.T, axis=0), found.stds, rtol=1e-2)


def test_the_code_may_lie_on_kept_axes_only(samples):
    found = fit_leading([samples], axes=AXES)
    assert split(found, shift=4, bits=8).content_axes.shape == (4, D)
    with pytest.raises(ValueError, match="not all among the 12 of this basis"):
        split(found, shift=5, bits=8)


@pytest.mark.parametrize("axes", [0, 61, 50])
def test_what_cannot_be_determined_is_refused(samples, axes):
    with pytest.raises(ValueError, match=rf"cannot determine|has no {axes} axes"):
        fit_leading([samples[:60]], axes=axes)


def test_samples_that_are_broken_or_all_alike_are_refused(samples):
    broken = samples.copy()
    broken[3, 3] = np.nan
    with pytest.raises(ValueError, match="non-finite"):
        fit_leading([broken], axes=2)
    with pytest.raises(ValueError, match="vary along fewer than 5 directions"):
        fit_leading([np.outer(samples[:, 0], samples[0])], axes=5)
    with pytest.raises(ValueError, match="no samples"):
        fit_leading([], axes=2)


def test_a_linear_generator_has_the_same_leading_axes_by_either_way(tmp_path):
    loaded = pretrained.load(write_generator(tmp_path / "linear", latent_dim=48, size=8))
    whole = fitting.sample_basis(loaded, fitting.Sampling(3000, 1))
    found = fitting.sample_basis(loaded, fitting.Sampling(3000, 1, axes=6))
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(found.stds, whole.stds[:6], rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(found.axes * whole.axes[:6], axis=1)), 1, atol=1e-4)


PROGRAM = """
import sys
import jax
import numpy as np
from latentfp.deployment import fitting
from latentfp.generators import pretrained
from latentfp.runtime import mesh

assert jax.device_count() == int(sys.argv[1])
split, rows = mesh.split_rows, set()
def watched(function, **options):
    def seen(*arrays):
        found = function(*arrays)
        jax.debug.inspect_array_sharding(found, callback=lambda it: rows.add(it.shard_shape((1000, 1))[0]))
        return found
    return split(seen, **options)
mesh.split_rows = watched
found = fitting.sample_basis(pretrained.load(sys.argv[3]), fitting.Sampling(2000, 1, axes=6))
assert rows == {1000 // int(sys.argv[1])}, rows
np.savez(sys.argv[2], **found._asdict())
"""


@pytest.mark.slow
def test_eight_devices_draw_the_same_samples_each_its_part(tmp_path):
    found, generator = [], write_generator(tmp_path / "linear", latent_dim=48, size=8)
    for devices in (1, 8):
        file = tmp_path / f"{devices}.npz"
        flags = f"--xla_force_host_platform_device_count={devices}"
        path = os.pathsep.join(sys.path)
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
        command = [sys.executable, "-c", PROGRAM, str(devices), file, generator]
        subprocess.run(command, env=environment, check=True)
        found.append(np.load(file))
    one, eight = found
    np.testing.assert_allclose(eight["stds"], one["stds"], rtol=1e-5)
    np.testing.assert_allclose(eight["axes"], one["axes"], atol=1e-4)
