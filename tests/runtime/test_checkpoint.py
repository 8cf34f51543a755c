import json
import re
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from latentfp.runtime import checkpoint
from latentfp.runtime.mesh import abstract_replicated, data_mesh, init_replicated

FREE = ("train.steps", "train.*_every")
CONFIG = {
    "seed": 1,
    "train": {"steps": 10, "log_every": 2, "batch": 4},
    "objective": {"name": "x", "r1_every": 16},
}


class State(NamedTuple):
    weights: dict
    optimizer: optax.OptState
    layers: list


def init(offset=0.0):
    weights = {"a": jnp.arange(6.0).reshape(2, 3) + offset, "b.c/d": jnp.full((3,), 1 / 3, jnp.bfloat16)}
    layers = [jnp.int32(-7), jnp.array([True, False]), (), jnp.uint8([255]), jnp.float32([jnp.nan, -0.0])]
    return State(weights, optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(weights), layers)


@pytest.fixture
def opened(tmp_path):
    checkpoints = checkpoint.open_checkpoints(tmp_path, keep=2)
    yield checkpoints
    checkpoints.close()


@pytest.fixture
def template():
    return abstract_replicated(init, data_mesh(8))


def assert_identical(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def steps_and_first(checkpoints, template):
    """The step of the latest checkpoint, and the first number in it."""
    step, state = checkpoints.restore_latest(template)
    return step, float(state.weights["a"][0, 0])


def test_an_empty_folder_has_nothing_to_restore(opened, template):
    assert opened.latest is None
    assert opened.restore_latest(template) is None


def test_every_array_comes_back_bit_for_bit_under_its_sharding(opened, template):
    opened.save(5, init_replicated(init, data_mesh(2)))
    step, state = opened.restore_latest(template)
    assert step == 5
    assert_identical(state, init())
    for leaf, promised in zip(jax.tree.leaves(state), jax.tree.leaves(template), strict=True):
        assert leaf.sharding == promised.sharding


def test_what_is_saved_is_not_changed_by_donating_it(opened, template):
    state = init_replicated(init, data_mesh(1))
    opened.save(1, state)
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + x.dtype.type(1), tree.weights), donate_argnums=0)
    jax.block_until_ready(add(state))
    assert_identical(opened.restore_latest(template)[1], init())


def test_the_latest_few_are_kept(tmp_path, opened, template):
    for step in (1, 2, 10):
        opened.save(step, init(float(step)))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "2"]
    assert steps_and_first(opened, template) == (10, 10.0)


def test_saving_a_step_again_changes_nothing(opened, template):
    opened.save(3, init(1.0))
    opened.save(3, init(2.0))
    assert steps_and_first(opened, template) == (3, 1.0)


def test_what_a_kill_left_unfinished_is_ignored(tmp_path, template):
    folder = tmp_path / "checkpoints"
    first = checkpoint.open_checkpoints(tmp_path, keep=2)
    first.save(1, init(1.0))
    first.close()
    unfinished = folder / "2.orbax-checkpoint-tmp"
    shutil.copytree(folder / "1", unfinished)
    for file in [
        *unfinished.rglob("manifest.ocdbt"),
        *unfinished.rglob("*_METADATA"),
        *unfinished.rglob("d/*"),
    ]:
        file.unlink()
    again = checkpoint.open_checkpoints(tmp_path, keep=2)
    assert steps_and_first(again, template) == (1, 1.0)
    again.save(2, init(2.0))
    assert steps_and_first(again, template) == (2, 2.0)
    again.close()


def test_all_that_does_not_fit_is_listed_at_once(opened):
    opened.save(
        7, {"same": jnp.zeros(2), "old": jnp.zeros(1), "shape": jnp.zeros((2, 3)), "type": jnp.zeros(4)}
    )
    wanted = {
        "same": jnp.zeros(2),
        "new": [jnp.zeros(1)],
        "shape": jnp.zeros((3, 2)),
        "type": jnp.int32([1] * 4),
    }
    with pytest.raises(ValueError, match="checkpoint 7 does not fit") as error:
        opened.restore_latest(jax.eval_shape(lambda: wanted))
    for part in (
        "missing ['new.0']",
        "unused ['old']",
        "'shape float32[2, 3] instead of float32[3, 2]'",
        "'type float32[4] instead of int32[4]'",
    ):
        assert part in str(error.value)
    assert "same" not in str(error.value)


def test_two_arrays_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two arrays .*'a\.b'"):
        checkpoint.named_leaves({"a": {"b": jnp.zeros(1)}, "a.b": jnp.zeros(1)})


def test_random_keys_are_refused(opened, key):
    with pytest.raises(ValueError, match=re.escape("random keys ['noise.key']")):
        opened.save(1, {"noise": {"key": key}, "x": jnp.zeros(1)})


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="keep is 0"):
        checkpoint.open_checkpoints(tmp_path, keep=0)


def record(tmp_path, **changes):
    config = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (config[section] if section else config)[field] = value
    checkpoint.record_config(tmp_path / "run", config, may_change=FREE)
    return json.loads((tmp_path / "run/config.json").read_text())


def test_a_configuration_is_recorded_and_recognised(tmp_path):
    assert record(tmp_path) == CONFIG
    assert record(tmp_path) == CONFIG


def test_durations_may_change(tmp_path):
    record(tmp_path)
    assert record(tmp_path, train__steps=20, train__log_every=1)["train"] == {
        "steps": 20,
        "log_every": 1,
        "batch": 4,
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 2}, "seed: 1 -> 2"),
        ({"train__batch": 8}, "train.batch: 4 -> 8"),
        ({"objective__r1_every": 8}, "objective.r1_every: 16 -> 8"),
        ({"objective__gamma": None}, "objective.gamma: absent -> null"),
        ({"seed": "1"}, 'seed: 1 -> "1"'),
        ({"objective": {"name": "x"}}, "objective.r1_every: 16 -> absent"),
    ],
)
def test_another_configuration_is_refused_with_the_difference(tmp_path, change, told):
    record(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"another configuration: {told}. ")):
        record(tmp_path, **change, train__steps=99)
    assert json.loads((tmp_path / "run/config.json").read_text()) == CONFIG
