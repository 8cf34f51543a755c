"""The objective of a first stage: how fast it learns, and what it leaves behind."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import optax
import pytest

from latentfp import rng
from latentfp.generators import pretrained
from latentfp.training import first_stage as training

N, SIZE, STEPS = 8, 8, 120
NETWORK = {"channels": (8, 8), "blocks": 1, "latent": 3, "groups": 4}
LEARNING = {
    "rate": 1.5e-2,
    "warmup": 5,
    "steps": STEPS,
    "average_decay": 0.9,
    "scales": 1,
    "latent_weight": 1e-4,
    "adversary_weight": 0.1,
    "adversary_from": 80,
}


def make(codes=0):
    return training.objective(
        size=SIZE, network={**NETWORK, "codes": codes}, critic=(8,), learning=training.Learning(**LEARNING)
    )


def pictures():
    """Each of two colours, with an edge at one of four places."""
    draw, images = np.random.default_rng(1), np.empty((N, SIZE, SIZE, 3), np.float32)
    for i in range(N):
        images[i] = draw.uniform(-1, 1, 3)
        images[i, :, 2 * (i % 4) :] = draw.uniform(-1, 1, 3)
    return jnp.asarray(images)


def start(made):
    """A fresh state, without compiling its random numbers."""
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    weights, critic = (jax.tree.map(jnp.asarray, oracle.fresh(x)) for x in (shapes.weights, shapes.critic))
    return blank._replace(weights=weights, average=weights, critic=critic, variance=jnp.float32(1))


class Run(NamedTuple):
    codes: int
    state: training.StageState
    distances: list[float]


@pytest.fixture(scope="module", params=[0, 8], ids=["normal", "codes"])
def run(request):
    """Trained on the same images, with the distances on the way."""
    made, distances = make(request.param), []
    state, update, images = start(made), jax.jit(made.update), pictures()
    for step in range(STEPS):
        state, metrics = update(state, rng.stream(rng.root(1), "update", step), images, jnp.int32(step))
        distances.append(float(metrics["distance"][0]))
    return Run(request.param, state, distances)


def test_training_brings_images_back(run):
    """To less than half of what one picture for all would leave, which has no need of a latent."""
    images = np.concatenate([pictures(), pictures()[:, :, ::-1]])
    best = np.broadcast_to(np.median(images, axis=0), images.shape)
    left = float(training.distance(jnp.asarray(images), jnp.asarray(best), scales=1))
    assert left > 0.35
    assert run.distances[0] > left
    assert np.mean(run.distances[-10:]) < 0.5 * left


def test_the_average_reconstructs_as_well(run):
    """Without noise; codes by their nearest ones."""
    made = oracle.reconstruct(run.state.average, pictures(), {**NETWORK, "codes": run.codes})
    assert training.distance(jnp.asarray(made, jnp.float32), pictures(), scales=1) < 1.1 * np.mean(
        run.distances[-10:]
    )


def test_the_term_of_the_inverse_makes_an_encoder_that_inverts():
    """After 120 steps already less error than the same training without it (0.22, 0.35), at like images."""
    missed, distances = [], []
    for weight in (0.0, 1.0):
        learning = training.Learning(**{**LEARNING, "adversary_weight": 0.0, "inverse_weight": weight})
        made = training.objective(size=SIZE, network=NETWORK, critic=(8,), learning=learning)
        state, update = start(made), jax.jit(made.update)
        for step in range(STEPS):
            key = rng.stream(rng.root(1), "update", step)
            state, metrics = update(state, key, pictures(), jnp.int32(step))
        task = made.update.args[0]  # type: ignore[attr-defined]
        judged = task._replace(learning=task.learning._replace(inverse_weight=1.0))
        z = training.moments(task.stage, state.weights, pictures())[..., :3]
        missed.append(float(training.inverse(judged, state.weights, z, rng.root(2), state.variance)))
        distances.append(float(metrics["distance"][0]))
    assert missed[1] < 0.8 * missed[0]
    assert distances[1] < 2 * distances[0]


def test_the_export_is_the_average_with_the_scale_of_its_latents(run, tmp_path):
    export = make(run.codes).export
    assert export is not None
    export(run.state, tmp_path)
    stored = pretrained.read(tmp_path)
    assert stored.kind == "first_stage"
    network = {**NETWORK, "channels": [8, 8], "codes": run.codes}
    assert stored.fields == {"size": SIZE, "network": network, "scale": float(run.state.variance) ** -0.5}
    half = jax.tree.map(lambda leaf: np.float32(np.float16(leaf)), run.state.average)
    jax.tree.map(np.testing.assert_array_equal, stored.params, half)
    z = oracle.moments(stored.params, pictures(), NETWORK)[..., :3]
    # the scale is that of the last hundred steps, in which the latents went on changing
    assert np.var(stored.fields["scale"] * z) == pytest.approx(1, rel=0.2)


def test_the_first_state_is_of_the_network(run):
    """With an average of its own, for both are donated."""
    made = make(run.codes)
    fresh = jax.eval_shape(made.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, run.state)
    assert ("codebook" in fresh.weights) == bool(run.codes)


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(monkeypatch):
    rates = []
    monkeypatch.setattr(optax, "adam", lambda rate, **_: rates.append(rate) or optax.identity())
    make()
    for rate in rates:
        middle = 5 + (STEPS - 5) / 2
        found = [rate(step) for step in (0, 1, 5, middle, STEPS, 10 * STEPS)]
        expected = [0, 0.003, 0.015, 0.015 * 1.01 / 2, 0.00015, 0.00015]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)
    assert len(rates) == 2


@pytest.mark.parametrize("network", [{"groups": 3}, {"channels": (8, 6)}])
def test_groups_that_do_not_divide_are_refused_at_the_start(network):
    made = training.objective(
        size=SIZE, network={**NETWORK, **network}, critic=(8,), learning=training.Learning(**LEARNING)
    )
    with pytest.raises(ValueError, match="channels cannot be split into"):
        jax.eval_shape(made.init, jax.random.key(0))
