import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tolerances import SAME_PROGRAM

from latentfp import rng
from latentfp.runtime import mesh as meshes

DEVICES = (1, 2, 8)


@pytest.fixture(autouse=True)
def eight_devices():
    assert len(jax.devices()) == 8


def test_a_mesh_is_over_all_devices_or_the_first_few():
    assert meshes.data_mesh().devices.tolist() == jax.devices()
    assert meshes.data_mesh(3).devices.tolist() == jax.devices()[:3]


@pytest.mark.parametrize("devices", [-1, 0, 9])
def test_devices_that_are_not_there(devices):
    with pytest.raises(ValueError, match=f"{devices} devices asked for, 8 found"):
        meshes.data_mesh(devices)


def test_replicate_puts_the_whole_on_every_device():
    tree = meshes.replicate(meshes.data_mesh(8), {"a": np.arange(6.0).reshape(2, 3)})
    assert len(tree["a"].addressable_shards) == 8
    for shard in tree["a"].addressable_shards:
        np.testing.assert_array_equal(shard.data, np.arange(6.0).reshape(2, 3))


def test_shard_batch_gives_each_device_its_rows():
    rows = np.arange(32).reshape(16, 2)
    shards = meshes.shard_batch(meshes.data_mesh(8), rows).addressable_shards
    assert [shard.device for shard in shards] == jax.devices()
    for i, shard in enumerate(shards):
        np.testing.assert_array_equal(shard.data, rows[2 * i : 2 * i + 2])


def test_a_batch_that_cannot_be_split():
    with pytest.raises(ValueError, match="12 rows cannot be split over 8 devices: make it a multiple of 8"):
        meshes.shard_batch(meshes.data_mesh(8), np.zeros((12, 2), np.float32))


def test_a_state_is_created_where_it_stays():
    mesh = meshes.data_mesh(8)
    init = lambda: {"x": jnp.ones((3, 2)), "n": jnp.zeros((), jnp.int32)}  # noqa: E731
    abstract, state = meshes.abstract_replicated(init, mesh), meshes.init_replicated(init, mesh)
    for promised, leaf in zip(jax.tree.leaves(abstract), jax.tree.leaves(state), strict=True):
        assert (promised.shape, promised.dtype) == (leaf.shape, leaf.dtype)
        assert leaf.sharding == promised.sharding
        assert len(leaf.addressable_shards) == 8


def regression_step(state, rows, index):
    """One step of least squares; the batch mean is over the whole batch, also where it is squared."""
    x, y = rows[:, :-1], rows[:, -1]
    noise = 0.1 * jax.random.normal(rng.stream(rng.root(3), "noise", index), y.shape)

    def loss(w):
        residual = x @ w - y - noise
        return jnp.mean(residual**2) + jnp.mean(residual) ** 2

    value, gradient = jax.value_and_grad(loss)(state)
    return state - 0.1 * gradient, {"loss": (value, jnp.float32(1)), "noise": noise}


def regression_oracle(state, rows, noise):
    x, y = rows[:, :-1].astype(np.float64), rows[:, -1].astype(np.float64)
    residual = x @ state - y - noise
    gradient = 2 * x.T @ residual / len(x) + 2 * residual.mean() * x.mean(axis=0)
    return state - 0.1 * gradient, (residual**2).mean() + residual.mean() ** 2


@pytest.mark.parametrize("devices", DEVICES)
def test_a_step_is_that_of_the_whole_batch(devices):
    mesh = meshes.data_mesh(devices)
    step = meshes.data_parallel(regression_step, mesh)
    state, expected = meshes.replicate(mesh, np.array([1, -1, 0.5], np.float32)), np.array([1, -1, 0.5])
    rows = np.random.default_rng(0).normal(size=(5, 16, 4)).astype(np.float32)
    for index, batch in enumerate(rows):
        state, metrics = step(state, meshes.shard_batch(mesh, batch), np.int32(index))
        key = rng.stream(rng.root(3), "noise", index)
        drawn = 0.1 * np.float64(jax.random.normal(key, (16,)))
        np.testing.assert_allclose(metrics["noise"], drawn, **SAME_PROGRAM)
        expected, loss = regression_oracle(expected, batch, drawn)
        np.testing.assert_allclose(metrics["loss"][0], loss, **SAME_PROGRAM)
    np.testing.assert_allclose(state, expected, **SAME_PROGRAM)
    assert len(state.addressable_shards) == devices
    assert state.is_fully_replicated


def test_the_state_is_donated_and_nothing_compiled_twice():
    mesh, traces = meshes.data_mesh(8), []

    def step(state, batch, index):
        traces.append(index)
        return state + jnp.sum(batch), {}

    compiled, batch = meshes.data_parallel(step, mesh), meshes.shard_batch(mesh, np.ones((8,), np.float32))
    states = [meshes.replicate(mesh, np.float32(0))]
    for index in range(3):
        states.append(compiled(states[-1], batch, np.int32(index))[0])
    assert [state.is_deleted() for state in states] == [True, True, True, False]
    assert float(states[-1]) == 24
    assert len(traces) == 1


@pytest.mark.parametrize("devices", DEVICES)
def test_rows_on_devices_are_vmap(devices):
    """Each device runs a function on its own rows, and all know what they share."""

    def search(rate, target, start):
        final = jax.lax.fori_loop(0, 20, lambda _, x: x - rate * (x - target), start)
        return {"x": final, "bits": final > 0}

    targets, starts = np.random.default_rng(1).normal(size=(2, 16, 3)).astype(np.float32)
    mesh, rate, every = meshes.data_mesh(devices), np.float32(0.1), jax.vmap(search, (None, 0, 0))
    alone = every(rate, targets, starts)
    split = meshes.shard_batch(mesh, (targets, starts))
    mapped = meshes.map_shared(every, mesh)(meshes.replicate(mesh, rate), split)
    np.testing.assert_allclose(mapped["x"], alone["x"], **SAME_PROGRAM)
    np.testing.assert_array_equal(mapped["bits"], alone["bits"])
    place = jax.sharding.NamedSharding(mesh, PartitionSpec("data"))
    assert mapped["x"].sharding.is_equivalent_to(place, 2)
    assert [shard.data.shape for shard in mapped["x"].addressable_shards] == [(16 // devices, 3)] * devices
