"""Loading weights is a total function, and some of it can be undone.

Every tensor of the source is a parameter of ours, or a constant that our networks have built in (and then it
must have that value), or ignored for a stated reason; every parameter is filled, in the right shape, with
finite numbers. All that is wrong is reported together.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from latentfp.types import Params, by_path

MOST_NAMED = 8
Change = Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
    """Where a parameter comes from: the source's name, and the change of layout from its array to ours.

    `undo` is the change back, in formats that are also written.
    """

    source: str
    change: Change
    undo: Change | None = None


class NameTable(NamedTuple):
    """How the tensors of a foreign layout become our parameters.

    rules: path of the parameter in our tree, joined by "/" -> rule.
    constants: pattern of source names -> the value they must have.
    ignored: pattern of source names -> the reason why they are not needed.
    """

    title: str
    rules: Mapping[str, Rule]
    constants: Mapping[str, np.ndarray] = {}
    ignored: Mapping[str, str] = {}


class Imported(NamedTuple):
    """A generator, or a part of one, that another program wrote.

    `kind` and `fields`: as in generators/pretrained.py; `ignored`: reason -> how many tensors had it;
    `noise_seed`: of the noise maps, where the file has none; `notes`: what was made up for want of it.
    """

    kind: str
    fields: dict[str, Any]
    params: Params
    ignored: dict[str, int]
    noise_seed: int | None = None
    notes: tuple[str, ...] = ()


def adopt(source: Mapping[str, np.ndarray], table: NameTable, template: Params) -> Params:
    """The parameters, with the structure, shapes and dtypes of `template` (arrays or `jax.ShapeDtypeStruct`).

    Raises ValueError that names every missing, unused, misshapen, non-finite or unexpectedly different
    tensor.
    """
    slots, structure = by_path(template), jax.tree_util.tree_structure(template)
    used = {rule.source for rule in table.rules.values()}
    values, unusable = {}, {}
    for target in slots.keys() & table.rules.keys():
        name = table.rules[target].source
        if name in source:
            values[target], reason = _fit(source[name], table.rules[target].change, slots[target])
            unusable |= {f"{name} ({reason})": target} if reason else {}
    known = [*table.constants, *table.ignored]
    problems = {
        "missing": used - source.keys(),
        "unused": [x for x in source.keys() - used if not any(fnmatchcase(x, pattern) for pattern in known)],
        "without a rule": slots.keys() - table.rules.keys(),
        "with a rule but no place": table.rules.keys() - slots.keys(),
        "not the constant that they should be": _changed(source, table.constants),
        "unusable": unusable,
    }
    report = [f"{len(names)} {kind}: {_short(names)}" for kind, names in problems.items() if names]
    if report:
        raise ValueError(f"weights do not match {table.title}: {'; '.join(report)}")
    return jax.tree_util.tree_unflatten(structure, [values[target] for target in slots])


def ignored(source: Collection[str], table: NameTable) -> dict[str, int]:
    """How many tensors of the source are left out, by the reason."""
    used = {rule.source for rule in table.rules.values()}
    reasons = {name: why for pattern, why in table.ignored.items() for name in matching(source, pattern)}
    return dict(Counter(why for name, why in reasons.items() if name not in used))


def restore(params: Params, table: NameTable) -> dict[str, np.ndarray]:
    """The tensors of the foreign layout, constants included: what `adopt` made these parameters of."""
    ours = by_path(params)
    tensors = {}
    for target, rule in table.rules.items():
        if rule.undo is None:
            raise ValueError(f"{table.title} is read, but not written")
        tensors[rule.source] = np.array(rule.undo(np.asarray(ours[target])), order="C")
    return tensors | {name: np.asarray(value, np.float32) for name, value in table.constants.items()}


def _fit(array: np.ndarray, change: Change, slot: Any) -> tuple[Any, str]:
    """The array in our layout, and the reason why it cannot be used, or ""."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return None, f"{array.dtype}, not floating-point"
    try:
        ours = change(array)
    except ValueError:
        return None, f"shape {list(array.shape)} of an unexpected rank"
    if ours.shape != slot.shape:
        return None, f"shape {list(array.shape)}, which is {list(ours.shape)} here, not {list(slot.shape)}"
    if not np.isfinite(ours).all():
        return None, "not finite"
    return jnp.asarray(ours, slot.dtype), ""


def _changed(source: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> set[str]:
    return {
        name
        for pattern, value in constants.items()
        for name, array in source.items()
        if fnmatchcase(name, pattern)
        if array.shape != value.shape or not np.allclose(array, value, rtol=rounding(array), atol=1e-6)
    }


def rounding(array: np.ndarray) -> float:
    """The relative error within which a number of this array is one that was rounded to its type."""
    return max(1e-5, float(jnp.finfo(array.dtype).eps)) if jnp.issubdtype(array.dtype, jnp.floating) else 0.0


def _short(names: Collection[str]) -> str:
    listed = ", ".join(sorted(names)[:MOST_NAMED])
    return listed if len(names) <= MOST_NAMED else f"{listed}, …"
