"""The smallest training run: an image fitted to noisy batches.

python tests/mean_image.py WORKDIR STEPS SIGNAL STEP trains it, and sends itself the signal when it asks for
the data of this step; of several processes (launch/local.sh) the last one does.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from latentfp.runtime.loop import Lazy, Objective, train
from latentfp.runtime.mesh import data_mesh, rows_here
from latentfp.runtime.processes import join

SIZE, BATCH = 4, 16


def objective(*, learning_rate: float = 0.05, nan_at: int = -1, traces: list | None = None) -> Objective:
    """Adam on the mean square of image - data - noise, averaged; every 4th step the image shrinks.

    `nan_at`: the step, counted from 0, whose loss is not a number. `traces` grows with each compilation of
    a step.
    """
    optimizer = optax.adam(learning_rate)

    def init(key):
        image = jax.random.uniform(key, (SIZE, SIZE, 3))
        return {"image": image, "average": image, "optimizer": optimizer.init(image)}

    def update(state, key, images, step):
        if traces is not None:
            traces.append(images.shape)
        noise = 0.1 * jax.random.uniform(key, images.shape)

        def loss(image):
            return jnp.mean(jnp.square(image[None] - images - noise))

        value, gradient = jax.value_and_grad(loss)(state["image"])
        updates, moments = optimizer.update(gradient, state["optimizer"])
        image = state["image"] + updates
        average = 0.9 * state["average"] + 0.1 * image
        value = jnp.where(step == nan_at, jnp.nan, value)
        metrics = {"loss": (value, jnp.float32(1))}
        return {"image": image, "average": average, "optimizer": moments}, metrics

    def shrink(state, key, images, step):
        del images, step
        factor = 0.9 + 0.1 * jax.random.uniform(key)
        return state | {"image": factor * state["image"]}, {"factor": (factor, jnp.float32(1))}

    def evaluate(state):
        return {"distance": float(jnp.mean(jnp.abs(state["image"] - state["average"])))}

    def export(state, folder):
        folder.mkdir(exist_ok=True)
        np.save(folder / "image.npy", state["image"])

    return Objective(init, update, preview, evaluate, lazy=(Lazy(4, shrink),), export=export)


def preview(state, key):
    """Five noisy copies of the image."""
    return state["image"][None] + 0.1 * jax.random.uniform(key, (5, SIZE, SIZE, 3))


def batches(first_step: int, *, before: Callable[[int], None] = lambda _: None) -> Iterator[np.ndarray]:
    """Batch t depends on t alone. `before(t)` is called when batch t is asked for."""
    step = first_step
    while True:
        before(step)
        yield np.random.default_rng(step).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
        step += 1


def run(workdir: Path, steps: int, *, source=batches, devices: int | None = 1, log_every: int = 5, **fields):
    """Train on the first `devices` devices, or on all; `fields` are the objective's."""
    mesh = data_mesh(devices)
    rows = rows_here(mesh, BATCH)
    return train(
        objective(**fields),
        lambda first_step: (batch[rows] for batch in source(first_step)),
        workdir=workdir,
        steps=steps,
        seed=7,
        log_every=log_every,
        preview_every=20,
        checkpoint_every=10,
        keep=2,
        mesh=mesh,
    )


def rows_of(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run, but for its speed."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints of a run."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def at_step(chosen: int, sent: signal.Signals) -> Callable[[int], Iterator[np.ndarray]]:
    """Batches that send this process a signal when the data of step `chosen` are asked for."""

    def before(step: int) -> None:
        if step == chosen:
            os.kill(os.getpid(), sent)

    return lambda first_step: batches(first_step, before=before)


if __name__ == "__main__":
    sys.modules["clu"] = None  # type: ignore[assignment]  # numbers to plain files: importing TensorFlow takes seconds
    share = join(os.environ)
    sent = at_step(int(sys.argv[4]), signal.Signals[sys.argv[3]])
    mine = sent if share.index == share.count - 1 else batches
    run(Path(sys.argv[1]), int(sys.argv[2]), source=mine, devices=None)
