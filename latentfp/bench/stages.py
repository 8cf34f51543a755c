"""The stages of a bench: what a deployment spends its time on, as programs with what they are called with.

Everything is real: latents of the generator's prior, images that it marked with random codes, rounded to the
8 bits of a file, the decoder that the deployment has.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from latentfp import rng
from latentfp.attribution import blocks, refine, search
from latentfp.attribution import decoder as decoding
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.refine import Model
from latentfp.attribution.whitening import Thetas
from latentfp.augment import damage
from latentfp.bench.search import Task, draw
from latentfp.deployment.methods import Budget
from latentfp.pixels import to_float
from latentfp.runtime import mesh
from latentfp.studies.marked import marked_images
from latentfp.studies.scene import Scene
from latentfp.types import Image, Images, Key

Pixels = UInt8[np.ndarray, "n h w 3"]
Carry = Callable[[Any], Any]  # from the result of a call to the first argument of the next


class Program(NamedTuple):
    """A function of `jax.jit`, what it is called with, and how often a stage calls it for one batch.

    `carry`: given where a call uses up its first argument.
    """

    name: str
    function: Any
    arguments: tuple[Any, ...]
    times: float | int = 1
    carry: Carry | None = None


class Stage(NamedTuple):
    """`items` of one batch (images or queries), and the programs that treat them.

    `whole`: a call that is timed instead of the programs. `whole_numbers`: it calculates with these, so that
    a matrix product of floating-point numbers is no measure of it.
    """

    items: int
    programs: list[Program]
    unit: str = "images"
    whole: Callable[[], Any] | None = None
    whole_numbers: bool = False


class Sizes(NamedTuple):
    """Images of a batch; images that are refined at once; codes that are searched, queries, hits of each."""

    batch: int
    places: int
    codes: int
    queries: int
    top: int


def stages(scene: Scene, sizes: Sizes, pixels: Pixels) -> dict[str, Callable[[], Stage]]:
    """The stages of a deployment by name, each made when it is called. Training is not among them.

    `pixels`: images of the deployment, as many as the largest batch or more.
    """
    images = to_float(pixels)
    found = {
        "sampling": lambda: sampling(scene, sizes.batch),
        "synthesis": lambda: synthesis(scene, sizes.batch),
        "augmentation": lambda: augmentation(scene, jnp.asarray(images[: sizes.batch])),
        "decoder": lambda: decoder(scene, scene.decoder, jnp.asarray(images[: sizes.batch])),
        "refine": lambda: refinement(scene, jnp.asarray(images[: sizes.places])),
        "search": lambda: searching(scene, sizes),
    }
    return {name: make for name, make in found.items() if name != "decoder" or scene.decoder is not None}


def pixels_of(scene: Scene, n: int) -> Pixels:
    """Images of the deployment's generator, marked with random codes."""
    codes = np.random.default_rng(scene.seed).integers(2, size=(n, scene.subject.bits)).astype(bool)
    return marked_images(scene.subject, codes, seed=scene.seed)


def sampling(scene: Scene, n: int) -> Stage:
    """From noise to latents: for a latent diffusion, all steps of its sampler."""
    subject = scene.subject
    draw_latents = jax.jit(lambda params, key: subject.generator.sample(params, key, n))
    return Stage(n, [Program("sample", draw_latents, (subject.params, _key(scene, "sample")))])


def synthesis(scene: Scene, n: int) -> Stage:
    """From latents to images."""
    generator, params = scene.subject.generator, scene.subject.params
    w = jax.jit(lambda params, key: generator.sample(params, key, n))(params, _key(scene, "latents"))
    return Stage(n, [Program("synthesize", jax.jit(generator.synthesize), (params, w))])


def augmentation(scene: Scene, images: Images) -> Stage:
    """Mixtures of the damage on which decoders are trained, drawn and inflicted: from images to images."""

    def harm(key: Key, image: Image) -> Image:
        drawn = damage.draw(rng.stream(key, "damage"), clean=0.0, mixed=1.0)
        return damage.inflict(rng.stream(key, "inflict"), image, drawn)

    keys = jax.vmap(partial(rng.stream, _key(scene, "augmentation"), "image"))(jnp.arange(len(images)))
    return Stage(len(images), [Program("inflict", jax.jit(jax.vmap(harm)), (keys, images))])


def decoder(scene: Scene, trained: TrainedDecoder | None, images: Images) -> Stage:
    """The deployment's decoder with as many looks as it was trained for. ValueError where there is none."""
    if trained is None:
        raise ValueError(f"{scene.opened.path} has no decoder: train and `latentfp adopt` one")
    subject = scene.subject

    def read(weights: Any, params: Any, space: Any, images: Images) -> Any:
        return decoding.read(
            trained.decoder, weights, subject.generator, params, space, images, count=trained.looks
        )

    given = (trained.weights, subject.params, subject.whitened, images)
    return Stage(len(images), [Program(f"{trained.looks} looks", jax.jit(read), given)])


def refinement(scene: Scene, images: Images) -> Stage:
    """The whole descent of undamaged images, begun at the mean of the prior: the start changes no costs.

    All steps are counted; an image that is settled makes room for another one earlier.
    """
    subject, settings, n = scene.subject, Budget().refine, len(images)
    generator, bits = subject.generator, subject.bits
    model = Model(subject.params, subject.whitened, subject.curvature())

    def begin(model: Model, images: Images, harms: Float[Array, "b m"], theta: Thetas) -> Any:
        problem = refine.pose(UNDAMAGED, images, harms)
        return problem, refine.init(UNDAMAGED, generator, model, settings, problem, theta)

    def step(state: refine.State, model: Model, problem: refine.Problem) -> refine.State:
        return refine.step(UNDAMAGED, generator, model, settings, problem, state, bits=bits)

    mean = jnp.zeros((n, subject.whitened.rows.shape[0]))
    given = (model, images, jnp.zeros((n, damage.SIZE)), mean)
    first = jax.jit(begin)
    problem, state = first(*given)
    rest = Program("step", jax.jit(step, donate_argnums=0), (state, model, problem), settings.steps, _same)
    return Stage(n, [Program("begin", first, given), rest])


def _same(found: Any) -> Any:
    return found


def searching(scene: Scene, sizes: Sizes) -> Stage:
    """Soft search of random codes: the programs of one chunk, times all chunks; the whole call is timed."""
    words = -(-scene.subject.bits // 64) * 64
    task = Task(sizes.codes, words, sizes.queries, sizes.top, scene.seed)
    drawn, devices, share = draw(task), mesh.data_mesh(), search.chunk(task.n)
    rows = share * devices.size
    hard, planes = search.pack_scores(drawn.scores)
    groups = list(search.groups_of(hard, planes, task.top))
    lay_out, find = search.programs(blocks.block_rows(words=words // 32, planes=len(planes)), task.top)
    codes = mesh.shard_batch(devices, np.resize(drawn.book, (rows, words // 8)).view(np.uint32))
    valid = mesh.shard_batch(devices, np.full(devices.size, share, np.int32))
    chunks, lanes = -(-task.n // rows), lay_out((), (codes,))
    return Stage(
        task.queries,
        [
            Program("lay out", lay_out, ((), (codes,)), chunks),
            Program("find", find, (mesh.replicate(devices, groups[0]), (lanes, valid)), chunks * len(groups)),
        ],
        unit="queries",
        whole=lambda: search.best(drawn.scores, drawn.book, top=task.top),
        whole_numbers=True,
    )


def _key(scene: Scene, name: str) -> Key:
    return rng.stream(rng.root(scene.seed), name)
