"""The smallest run, an image fitted to noisy batches: python mean_image.py WORKDIR STEPS trains it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from latentfp.runtime.loop import Objective, train
from latentfp.runtime.mesh import data_mesh

SIZE, BATCH = 4, 16


def objective(*, learning_rate: float = 0.05, diverge_at: int = -1) -> Objective:
    optimiser = optax.adam(learning_rate)

    def init(key):
        image = jax.random.normal(key, (SIZE, SIZE, 3))
        return {"image": image, "average": image, "optimiser": optimiser.init(image)}

    def update(state, key, images, step):
        noise = 0.1 * jax.random.normal(key, images.shape)

        def loss(image):
            return jnp.mean(jnp.square(image[None] - images - noise))

        value, gradient = jax.value_and_grad(loss)(state["image"])
        value = jnp.where(step + 1 == diverge_at, jnp.nan, value)
        updates, moments = optimiser.update(gradient, state["optimiser"])
        image = state["image"] + updates
        average = 0.9 * state["average"] + 0.1 * image
        return {"image": image, "average": average, "optimiser": moments}, {"loss": (value, jnp.float32(1))}

    def preview(state, key):
        return state["image"][None] + 0.1 * jax.random.normal(key, (5, SIZE, SIZE, 3))

    def evaluate(state):
        return {"distance": float(jnp.mean(jnp.abs(state["image"] - state["average"])))}

    return Objective(init, update, preview, evaluate)


def batches(first_step: int) -> Iterator[np.ndarray]:
    """Batch t depends on t alone."""
    step = first_step
    while True:
        yield np.random.default_rng(step).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
        step += 1


def run(workdir: Path, steps: int, *, source=batches, devices: int = 1, seed: int = 7, **fields):
    return train(
        objective(**fields),
        source,
        workdir=workdir,
        steps=steps,
        seed=seed,
        log_every=5,
        preview_every=20,
        checkpoint_every=10,
        keep=2,
        mesh=data_mesh(devices),
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
