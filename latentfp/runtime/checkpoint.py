"""The state of a run on disk: numbered checkpoints, and the configuration they belong to.

A state is stored as named arrays, so restoring is a total function: every name of the file is used and
every array of the state is filled, or nothing is. A checkpoint appears under its number only once it is
complete (orbax renames the finished folder), so a run killed at any moment resumes from the latest complete
one.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from latentfp.runtime.files import replacing
from latentfp.types import PyTree, by_path

CONFIG = "config.json"


class Checkpoints:
    """The numbered checkpoints of one run, newest last."""

    def __init__(self, manager: ocp.CheckpointManager):
        self._manager = manager

    @property
    def latest(self) -> int | None:
        """The number of steps done at the latest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: PyTree[Any]) -> None:
        """Write the state after `step` steps, unless it is there; returns once it is complete on disk."""
        if step != self.latest:
            self._manager.save(step, args=ocp.args.StandardSave(named_leaves(state)), force=True)
            self._manager.wait_until_finished()

    def restore_latest(self, template: PyTree[jax.ShapeDtypeStruct]) -> tuple[int, PyTree[Any]] | None:
        """The latest (step, state), or None if there is none.

        `template` gives the names, shapes, dtypes and shardings. ValueError lists all that does not fit.
        """
        step = self.latest
        if step is None:
            return None
        wanted = named_leaves(template)
        _check_names(dict(self._manager.item_metadata(step)), wanted, title=f"checkpoint {step}")
        leaves = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return step, jax.tree.unflatten(jax.tree.structure(template), [leaves[name] for name in wanted])

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


def open_checkpoints(workdir: Path, *, keep: int) -> Checkpoints:
    """The checkpoints in `workdir`/checkpoints, of which the latest `keep` are kept."""
    if keep < 1:
        raise ValueError(f"keep is {keep}: a run keeps at least 1 checkpoint, to resume from")
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
    )
    folder = workdir.absolute() / "checkpoints"
    return Checkpoints(
        ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler())
    )


def named_leaves(tree: PyTree[Any]) -> dict[str, Any]:
    """The arrays of a tree by dotted names, in the order of jax.tree.leaves. ValueError for random keys."""
    named = by_path(tree, separator=".")
    if len(named) < len(jax.tree.leaves(tree)):
        raise ValueError(f"two arrays of the state have the same name: rename one of {sorted(named)}")
    keys = [name for name, leaf in named.items() if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    if keys:
        raise ValueError(
            f"the state holds random keys {keys}: derive them from the step with rng.stream instead"
        )
    return named


def _check_names(stored: Mapping[str, Any], wanted: Mapping[str, Any], *, title: str) -> None:
    missing = [name for name in wanted if name not in stored]
    unused = [name for name in stored if name not in wanted]
    misshapen = [
        f"{name} {stored[name].dtype}{list(stored[name].shape)} instead of {leaf.dtype}{list(leaf.shape)}"
        for name, leaf in wanted.items()
        if name in stored and (tuple(stored[name].shape), stored[name].dtype) != (leaf.shape, leaf.dtype)
    ]
    if missing or unused or misshapen:
        raise ValueError(
            f"{title} does not fit this program: missing {missing}, unused {unused}, misshapen {misshapen}; "
            "resume with the configuration and version that wrote it, or start in an empty folder"
        )


def record_config(workdir: Path, config: Mapping[str, Any], *, may_change: tuple[str, ...]) -> None:
    """Write `config` to `workdir`/config.json, or check that it is the one already there.

    may_change: patterns of dotted field names that a resumed run may change, such as "train.*_every".
    ValueError lists every other field that differs, with its recorded and its new value.
    """
    path = workdir / CONFIG
    new = json.dumps(config, indent=2, sort_keys=True)
    if path.exists():
        was, now = _fields(json.loads(path.read_text())), _fields(json.loads(new))
        changed = [
            f"{name}: {was.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name) and not any(fnmatch(name, p) for p in may_change)
        ]
        if changed:
            raise ValueError(
                f"{workdir} holds a run with another configuration: {'; '.join(changed)}. "
                "Set these fields back, or choose an empty folder"
            )
    workdir.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        fresh.write_text(new + "\n")


def _fields(section: Any, prefix: str = "") -> dict[str, str]:
    """Dotted names and JSON values of all fields."""
    if not isinstance(section, dict):
        return {prefix: json.dumps(section)}
    nested = [_fields(value, f"{prefix}.{name}" if prefix else name) for name, value in section.items()]
    return {name: value for fields in nested for name, value in fields.items()}
