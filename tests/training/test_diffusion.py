"""The denoiser's loss and updates against NumPy; how fast it learns; what it leaves behind."""

from functools import partial

import jax
import jax.numpy as jnp
import latent_diffusion_oracle as oracle
import numpy as np
import optax
import pytest
from stylegan2_oracle import wide
from tolerances import Tolerance

from latentfp import rng
from latentfp.generators import pretrained
from latentfp.generators.latent_diffusion import diffusion, model
from latentfp.training import diffusion as training
from latentfp.training.steps import flipped

N, SIZE, RATE, SCALE, STEPS = 8, 8, 1.0, 1.1, 100
STAGE = {"channels": (4, 4), "blocks": 1, "latent": 2, "groups": 2}
DENOISER = {"channels": (8,), "blocks": 1, "attention": (), "head": 4, "groups": 4}
LEARNING = {"rate": 2e-2, "warmup": 5, "steps": STEPS, "average_decay": 0.9}
SAMPLING = {"schedule": "cosine", "steps": 4, "eta": 0.5}
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, size=(N, SIZE, SIZE, 3)), jnp.float32)
Z = jnp.asarray(np.random.default_rng(1).normal(size=(N, 4, 4, 2)), jnp.float32)
ROUNDING = Tolerance(rtol=1e-4, atol=1e-5)  # of the networks' tests, through a gradient


def quiet(stage):
    """With a narrow posterior, so that images can be told apart by their latents."""
    bias = stage["before"]["bias"] - np.array([0, 0, 5, 5], np.float32)[: len(stage["before"]["bias"])]
    return jax.tree.map(jnp.asarray, {**stage, "before": {**stage["before"], "bias": bias}})


def make_task(codes=0, signal=None):
    """Plain gradient descent, so that an update shows its gradient."""
    parts = {"size": SIZE, "first_stage": {**STAGE, "codes": codes}, "denoiser": DENOISER}
    nets = model.networks(**parts)
    return training.Task(
        nets=nets,
        generator=model.make(**parts, scale=SCALE),
        first_stage=quiet(oracle.fan_scaled(nets.first_stage, IMAGES, seed=1)),
        scale=SCALE,
        signal=jnp.asarray(diffusion.linear() if signal is None else signal),
        learning=training.Learning(**LEARNING),
        optimizer=optax.sgd(RATE),
    )


TASK = make_task()
WEIGHTS = jax.tree.map(jnp.asarray, oracle.fan_scaled(TASK.nets.denoiser, Z, jnp.zeros(N), seed=2))


def latents(images, key):
    mean, log_variance = np.split(oracle.moments(TASK.first_stage, images, STAGE), 2, axis=-1)
    noise = wide(jax.random.normal(rng.stream(key, "posterior"), mean.shape))
    return SCALE * (mean + np.exp(log_variance / 2) * noise)


def test_a_normal_latent_is_drawn_and_scaled(key):
    found = jax.jit(partial(training.latents, TASK))(IMAGES, key)
    np.testing.assert_allclose(found, latents(IMAGES, key), **ROUNDING)


def test_a_latent_of_codes_is_scaled_and_not_quantised(key):
    task = make_task(codes=5)
    found = jax.jit(partial(training.latents, task))(IMAGES, key)
    expected = SCALE * oracle.moments(task.first_stage, IMAGES, STAGE)
    np.testing.assert_allclose(found, expected, **ROUNDING)


def drawn(key, times):
    """Times and noise of a batch."""
    even = (np.arange(N) + wide(jax.random.uniform(rng.stream(key, "time"), (N,)))) * times / N
    return np.floor(even).astype(int), wide(jax.random.normal(rng.stream(key, "noise"), Z.shape))


def loss(weights, z, key):
    """Of every image."""
    times, noise = drawn(key, 1000)
    bars = wide(diffusion.linear())[times][:, None, None, None]
    told = oracle.unet(weights, np.sqrt(bars) * wide(z) + np.sqrt(1 - bars) * noise, times, DENOISER)
    return np.mean((told - noise) ** 2, axis=(1, 2, 3))


def test_loss_of_noise_that_is_told(key):
    mean, each = jax.jit(lambda *args: training.loss(args[0], TASK, *args[1:]))(WEIGHTS, Z, key)
    expected = loss(WEIGHTS, Z, key)
    np.testing.assert_allclose(each, expected, **ROUNDING)
    np.testing.assert_allclose(mean, expected.mean(), **ROUNDING)


class Spy:
    """A denoiser that says zero and remembers what it saw."""

    def __init__(self, monkeypatch):
        self.z, self.times = [], []
        monkeypatch.setattr(model, "denoise", self)

    def __call__(self, unet, params, z, times):
        del unet, params
        self.z.append(wide(z))
        self.times.append(np.asarray(times))
        return jnp.zeros_like(z)


def test_a_denoiser_that_says_zero_loses_the_noise(monkeypatch, key):
    spy = Spy(monkeypatch)
    mean, each = training.loss({}, TASK, Z, key)
    times, noise = drawn(key, 1000)
    np.testing.assert_allclose(each, np.mean(noise**2, axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(mean, np.mean(noise**2), rtol=1e-6)
    np.testing.assert_array_equal(spy.times[0], times)
    bars = wide(diffusion.linear())[times][:, None, None, None]
    np.testing.assert_allclose(spy.z[0], np.sqrt(bars) * wide(Z) + np.sqrt(1 - bars) * noise, **ROUNDING)


def test_each_image_has_its_eighth_of_the_times(monkeypatch, key):
    spy = Spy(monkeypatch)
    for number in range(200):
        training.loss({}, TASK, Z, rng.stream(key, "loss", number))
    times = np.stack(spy.times)
    place = times / 125 - np.arange(N)
    assert ((place >= 0) & (place < 1)).all()
    # 200 numbers that are uniform in 0 … 1 have a mean that errs by 0.29 / √200 = 2 %; five of these
    assert np.abs(place.mean(axis=0) - 0.5).max() < 0.1
    assert place.min() < 0.02
    assert place.max() > 0.98


def test_few_times_are_seen_equally_often(monkeypatch, key):
    spy, task = Spy(monkeypatch), make_task(signal=diffusion.linear(times=4))
    training.loss({}, task, Z, key)
    np.testing.assert_array_equal(spy.times[0], [0, 0, 1, 1, 2, 2, 3, 3])


def test_an_update_moves_weights_and_average(key):
    """By RATE times the gradient, on latents of the mirrored images."""
    average = jax.tree.map(lambda leaf: leaf + 1, WEIGHTS)
    state = training.DiffusionState(WEIGHTS, average, TASK.optimizer.init(WEIGHTS))
    update, z = jax.jit(partial(training.update, TASK)), latents(flipped(key, IMAGES), key)
    own = rng.stream(key, "diffusion")
    for step, share in ((0, 0.1), (200, 0.9)):
        after, metrics = update(state, key, IMAGES, jnp.int32(step))
        gradient = jax.tree.map(lambda old, new: (wide(old) - wide(new)) / RATE, WEIGHTS, after.weights)
        expected, found = oracle.along(lambda weights: loss(weights, z, own).mean(), WEIGHTS, gradient)
        assert found == pytest.approx(expected, rel=1e-3)
        for mixed, old, new in zip(
            *(jax.tree.leaves(x) for x in (after.average, average, after.weights)), strict=True
        ):
            np.testing.assert_allclose(mixed, share * wide(old) + (1 - share) * wide(new), **ROUNDING)
    each = loss(WEIGHTS, z, own)
    assert metrics.keys() == {"loss", "loss/early", "variance"}
    np.testing.assert_allclose(metrics["loss"], (np.sum(each), N), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/early"], (np.sum(each[:2]), 2), rtol=1e-4)
    np.testing.assert_allclose(metrics["variance"], (float(np.var(z)), 1), rtol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A first stage."""
    path = tmp_path_factory.mktemp("first_stage")
    fields = {"size": SIZE, "network": STAGE, "scale": SCALE}
    pretrained.save(path, kind="first_stage", fields=fields, params=TASK.first_stage, noise_seed=0)
    return path


def objective(folder):
    learning = training.Learning(**LEARNING)
    return training.objective(first_stage=str(folder), denoiser=DENOISER, learning=learning, **SAMPLING)


@pytest.fixture(scope="module")
def run(folder):
    """The objective, the state after training on the same images, and the losses on the way."""
    made, losses = objective(folder), []
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(made.init, rng.root(0)))
    weights = jax.tree.map(jnp.asarray, oracle.fresh(blank.weights))
    state, update = blank._replace(weights=weights, average=weights), jax.jit(made.update)
    for step in range(STEPS):
        state, metrics = update(state, rng.stream(rng.root(0), "update", step), IMAGES, jnp.int32(step))
        losses.append(float(metrics["loss"][0]) / N)
    return made, state, losses


def test_training_tells_noise_apart(run):
    """Of which a denoiser that says zero would lose all."""
    losses = run[2]
    assert losses[0] > 0.8
    assert np.mean(losses[-20:]) < 0.5


def test_the_export_is_a_generator(run, folder, tmp_path):
    made, state, _ = run
    made.export(state, tmp_path)
    loaded = pretrained.load(str(tmp_path))
    half = jax.tree.map(lambda leaf: np.float32(np.float16(leaf)), state.average)
    jax.tree.map(np.testing.assert_array_equal, loaded.params["denoiser"], half)
    jax.tree.map(np.testing.assert_array_equal, loaded.params["first_stage"], pretrained.read(folder).params)
    assert pretrained.read(tmp_path).fields == {
        "size": SIZE,
        "first_stage": {**STAGE, "channels": [4, 4]},
        "denoiser": {**DENOISER, "channels": [8], "attention": []},
        "scale": SCALE,
        **SAMPLING,
    }
    generator = loaded.generator
    images = jax.jit(lambda p, key: generator.synthesize(p, generator.sample(p, key, 3)))(
        loaded.params, rng.root(1)
    )
    assert images.shape == (3, SIZE, SIZE, 3)
    assert np.isfinite(images).all()
    assert np.abs(images[0] - images[1]).max() > 0.01


def test_only_a_first_stage_can_be_built_on(run, folder, tmp_path):
    made, state, _ = run
    made.export(state, tmp_path)
    with pytest.raises(ValueError, match="holds a latent_diffusion, expected a first_stage: train one first"):
        objective(tmp_path)
    with pytest.raises(ValueError, match="no generator 'nowhere'"):
        objective(folder / "nowhere")
