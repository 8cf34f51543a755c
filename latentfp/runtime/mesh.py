"""Devices, and nothing else: the only file that knows meshes, shardings and collectives.

A mesh has one axis, `data`, and may span the devices of several processes that have found one another
(processes.join). The state of a run is replicated on it and a batch is split along its leading axis; each
process brings the rows of its own devices. A step is written for the whole batch and the compiler divides it,
so a mean over the batch is the mean over the whole batch however many devices there are. Results agree to
float32 rounding, not bit for bit: sums have another order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Int

from latentfp.types import PyTree

DATA = "data"
LEADER_SECONDS = 3600  # that the others wait for the first process


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices, or over all. ValueError if there are fewer."""
    available = jax.devices()
    wanted = len(available) if devices is None else devices
    if not 1 <= wanted <= len(available):
        raise ValueError(f"{wanted} devices asked for, {len(available)} found: ask for 1 to {len(available)}")
    return jax.make_mesh(
        (wanted,), (DATA,), devices=available[:wanted], axis_types=(jax.sharding.AxisType.Auto,)
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of a state: a copy on every device."""
    return NamedSharding(mesh, P())


def replicate(mesh: Mesh, tree: PyTree[Any]) -> PyTree[Any]:
    """A copy of every array on every device."""
    return jax.device_put(tree, replicated(mesh))


def rows_here(mesh: Mesh, rows: int) -> Int[np.ndarray, " b"]:
    """Which of a batch's `rows` rows are this process's, in order. ValueError: devices cannot share them."""
    check_divisible(mesh, rows)
    spans = NamedSharding(mesh, P(DATA)).addressable_devices_indices_map((rows,)).values()
    return np.sort(np.concatenate([np.arange(rows)[span] for span in spans if span is not None]))


def shard_batch(mesh: Mesh, tree: PyTree[Any]) -> PyTree[Any]:
    """Arrays [b ...] split along b over the devices; of several processes, each gives its `rows_here`.

    ValueError unless the number of this process's devices divides its rows.
    """
    for rows in {leaf.shape[0] for leaf in jax.tree.leaves(tree)}:
        check_divisible(mesh.local_mesh, rows)
    place = NamedSharding(mesh, P(DATA))
    if place.is_fully_addressable:
        return jax.device_put(tree, place)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(place, leaf), tree)


def leads() -> bool:
    """Whether this process is the first: it alone writes what all of them know."""
    return jax.process_index() == 0


@contextmanager
def leader_first() -> Iterator[None]:
    """The first process does the block alone, then all others: for what is made once, on a shared disk."""
    if leads():
        yield
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost

        everybody = set(range(jax.process_count()))
        multihost.sync_global_processes("leader_first", timeout=LEADER_SECONDS, processes=everybody)
    if not leads():
        yield


def on_this_process(tree: PyTree[Any]) -> PyTree[Any]:
    """Replicated arrays as this process's own, on its first device: what follows is no concern of others."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def check_divisible(mesh: Mesh, rows: int) -> None:
    """ValueError unless a batch of `rows` rows can be split evenly over the devices."""
    if rows % mesh.size:
        raise ValueError(
            f"a batch of {rows} rows cannot be split over {mesh.size} devices: "
            f"make it a multiple of {mesh.size} or use fewer devices"
        )


def init_replicated(init: Callable[[], PyTree[Any]], mesh: Mesh) -> PyTree[Any]:
    """The result of `init()`, computed where it stays: on every device."""
    return jax.jit(init, out_shardings=replicated(mesh))()


def abstract_replicated(init: Callable[[], PyTree[Any]], mesh: Mesh) -> PyTree[jax.ShapeDtypeStruct]:
    """The shapes, dtypes and sharding of `init()`, computed without running it."""
    place = replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), jax.eval_shape(init)
    )


def data_parallel(step: Callable[..., tuple[Any, Any]], mesh: Mesh) -> Callable[..., tuple[Any, Any]]:
    """Compile `step(state, batch, index) -> (state, metrics)`, written for the whole batch, for the mesh.

    State, index and results are replicated, the batch is split. The state is donated: do not use it again.
    """
    whole = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, NamedSharding(mesh, P(DATA)), whole),
        out_shardings=whole,
        donate_argnums=0,
    )


def split_rows(function: Callable[..., Any], *, rows: int) -> Callable[..., Any]:
    """Compile `function(*arrays) -> [rows ...]` so that every device computes its part of the rows, where the
    devices can share them; the result is whole on each."""
    mesh = data_mesh()
    if mesh.size == 1 or rows % mesh.size:
        return jax.jit(function)

    def split(*arrays: Any) -> Any:
        return jax.lax.with_sharding_constraint(function(*arrays), NamedSharding(mesh, P(DATA)))

    return jax.jit(split, out_shardings=replicated(mesh))


def map_shared(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Compile `function(shared, *batches)`, in which all rows meet the same `shared` arrays.

    The result is called with (shared, batches): each device runs the function on its own rows of every batch,
    which are there already (`shard_batch`), and on its copy of `shared` (`replicate`). Every array of the
    result is [b ...], split in the same way.
    """
    return jax.jit(
        jax.shard_map(
            lambda shared, batches: function(shared, *batches),
            mesh=mesh,
            in_specs=(P(), P(DATA)),
            out_specs=P(DATA),
            check_vma=False,
        )
    )
