"""The stages of a bench: what a deployment spends its time on, as programs with what they are called with.

Those of a deployment are real: latents of the generator's prior, images watermarked with random codes and
rounded to the 8 bits of a file, the decoder that the deployment has. Others are attacks, algebraic codes, and
networks of other sizes, with random weights.

A training is the step of an objective as runtime/loop.py compiles it, lazy updates too, each of which counts
as often as it occurs in a long run: one `every`-th of a step. Batches lie on the device beforehand, so what
reading data costs is not in it.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from latentfp import rng
from latentfp.attribution import blocks, decoder, reference, refine, search
from latentfp.attribution.cascade import MULTISCALE, Budget
from latentfp.attribution.decoder import TrainedDecoder
from latentfp.attribution.descent import Subject
from latentfp.attribution.estimate import numbered
from latentfp.attribution.list_decoding import decode
from latentfp.attribution.observation import UNDAMAGED
from latentfp.attribution.reference import Problem
from latentfp.attribution.refine import Model
from latentfp.attribution.whitening import Thetas
from latentfp.augment import damage
from latentfp.augment.attacks import Attack
from latentfp.augment.suites import suite
from latentfp.bench.search import BookSize, draw
from latentfp.deployment import decoder_training
from latentfp.deployment.constants import subject_of
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.bch import construct, encode
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.generators.stylegan2 import model as stylegan2
from latentfp.pixels import to_float
from latentfp.runtime import mesh
from latentfp.runtime.loop import Lazy, Objective, one_step
from latentfp.studies.context import Context, marked_images
from latentfp.training import diffusion
from latentfp.types import Image, Images, Key

Pixels = UInt8[np.ndarray, "n h w 3"]
SURE = 8  # magnitude of the soft bits of an algebraic code
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
    refined: int
    codes: int
    queries: int
    top: int


class AlgebraicCode(NamedTuple):
    """A code of `bits` with messages of `message` bits, and so many `readings` to decode at once.

    `wrong`: for each stage, how many of a reading's bits are wrong; all are equally sure, the hardest case.
    """

    bits: int
    message: int
    readings: int
    wrong: Sequence[int]


def stages(context: Context, sizes: Sizes, pixels: Pixels) -> dict[str, Callable[[], Stage]]:
    """The stages of a deployment by name, each made when it is called. Training is not among them.

    `pixels`: images of the deployment, as many as the largest batch or more.
    """
    images, trained = jnp.asarray(to_float(pixels)), context.decoder
    found = {
        "sampling": lambda: sampling(context, sizes.batch),
        "synthesis": lambda: synthesis(context, sizes.batch),
        "augmentation": lambda: augmentation(context, images[: sizes.batch]),
    }
    if trained is not None:
        found["decoder"] = lambda: decoding(context.subject, trained, images[: sizes.batch])
    return found | {
        "refine": lambda: refinement(context, images[: sizes.refined]),
        "paper's search": lambda: reference_search(context, images[:1]),
        "search": lambda: searching(context, sizes),
    }


def untrained(
    context: Context, networks: Mapping[str, Mapping[str, Any]], batch: int
) -> dict[str, Callable[[], Stage]]:
    """Synthesis of StyleGAN2 networks of these fields with random weights, and the decoder on each."""
    found: dict[str, Callable[[], Stage]] = {}
    for name, fields in networks.items():
        found[f"synthesis, {name}"] = lambda fields=fields: synthesis(_untrained(context, fields), batch)
        if context.decoder is not None:
            given = (context, context.decoder, fields, batch)
            found[f"decoder, {name}"] = partial(_untrained_decoder, *given)
    return found


def attacks(
    suites: Sequence[str], pixels: UInt8[np.ndarray, "h w 3"], *, seed: int
) -> dict[str, Callable[[], Stage]]:
    """Every attack of these suites on one file of pixels [h w 3], as studies apply them."""
    key = rng.stream(rng.root(seed), "attack")

    def stage(attack: Attack) -> Stage:
        return Stage(1, [], "file", whole=lambda: attack.apply(key, pixels))

    return {f"{name}: {attack.name}": partial(stage, attack) for name in suites for attack in suite(name)}


def list_decoding(algebraic: AlgebraicCode, *, seed: int) -> dict[str, Callable[[], Stage]]:
    """From readings of random messages to these, without a list of users."""
    return {
        f"list decoding, {wrong} bits wrong": partial(_list_decoding, algebraic, wrong, seed)
        for wrong in algebraic.wrong
    }


def pixels_of(context: Context, n: int) -> Pixels:
    """Images of the deployment's generator, watermarked with random codes."""
    codes = np.random.default_rng(context.seed).integers(2, size=(n, context.subject.bits)).astype(bool)
    return marked_images(context.subject, codes, seed=context.seed)


def sampling(context: Context, n: int) -> Stage:
    """From noise to latents: for a latent diffusion, all steps of its sampler."""
    subject = context.subject
    draw_latents = jax.jit(lambda params, key: subject.generator.sample(params, key, n))
    return Stage(n, [Program("sample", draw_latents, (subject.params, _key(context, "sample")))])


def synthesis(context: Context, n: int) -> Stage:
    """From latents to images."""
    generator, params = context.subject.generator, context.subject.params
    w = jax.jit(lambda params, key: generator.sample(params, key, n))(params, _key(context, "latents"))
    return Stage(n, [Program("synthesize", jax.jit(generator.synthesize), (params, w))])


def augmentation(context: Context, images: Images) -> Stage:
    """Mixtures of the damage on which decoders are trained, drawn and inflicted: from images to images."""

    def damaged(key: Key, image: Image) -> Image:
        drawn = damage.draw(rng.stream(key, "damage"), clean=0.0, mixed=1.0)
        return damage.inflict(rng.stream(key, "inflict"), image, drawn)

    keys = jax.vmap(partial(rng.stream, _key(context, "augmentation"), "image"))(jnp.arange(len(images)))
    return Stage(len(images), [Program("inflict", jax.jit(jax.vmap(damaged)), (keys, images))])


def decoding(subject: Subject, trained: TrainedDecoder, images: Images) -> Stage:
    """A decoder with as many iterations as it was trained for."""

    def read(weights: Any, params: Any, space: Any, images: Images) -> Any:
        return decoder.read(
            trained.decoder, weights, subject.generator, params, space, images, count=trained.iterations
        )

    given = (trained.weights, subject.params, subject.whitened, images)
    return Stage(len(images), [Program(f"{trained.iterations} iterations", jax.jit(read), given)])


def refinement(context: Context, images: Images) -> Stage:
    """The whole descent of undamaged images, begun at the mean of the prior: the start changes no costs.

    All steps are counted; an image that is settled makes room for another one earlier.
    """
    subject, settings, n = context.subject, Budget().refine, len(images)
    generator, bits = subject.generator, subject.bits
    model = Model(subject.params, subject.whitened, subject.curvature())

    def begin(model: Model, images: Images, distortion: Float[Array, "b m"], theta: Thetas) -> Any:
        return refine.begin(UNDAMAGED, generator, model, settings, images, distortion, theta)

    def step(state: refine.State, model: Model, problem: refine.Problem) -> refine.State:
        return refine.step(UNDAMAGED, generator, model, settings, problem, state, bits=bits)

    mean = jnp.zeros((n, subject.whitened.size))
    given = (model, images, jnp.zeros((n, damage.SIZE)), mean)
    first = jax.jit(begin)
    problem, state = first(*given)
    rest = (jax.jit(step, donate_argnums=0), (state, model, problem), settings.steps)
    return Stage(n, [Program("begin", first, given), Program("step", *rest, carry=lambda found: found)])


def searching(context: Context, sizes: Sizes) -> Stage:
    """Soft search of random codes: the programs of one chunk, times all chunks; the whole call is timed."""
    words = -(-context.subject.bits // 64) * 64
    size = BookSize(sizes.codes, words, sizes.queries, sizes.top, context.seed)
    drawn, devices, share = draw(size), mesh.data_mesh(), search.chunk(size.n)
    rows = share * devices.size
    hard, planes = search.pack_scores(drawn.scores)
    groups = list(search.groups_of(hard, planes, size.top))
    lay_out, find = search.programs(blocks.block_rows(words=words // 32, planes=len(planes)), size.top)
    codes = mesh.shard_batch(devices, np.resize(drawn.book, (rows, words // 8)).view(np.uint32))
    valid = mesh.shard_batch(devices, np.full(devices.size, share, np.int32))
    chunks, lanes = -(-size.n // rows), lay_out((), (codes,))
    return Stage(
        size.queries,
        [
            Program("lay out", lay_out, ((), (codes,)), chunks),
            Program("find", find, (mesh.replicate(devices, groups[0]), (lanes, valid)), chunks * len(groups)),
        ],
        unit="queries",
        whole=lambda: search.best(drawn.scores, drawn.book, top=size.top),
        whole_numbers=True,
    )


def reference_search(context: Context, images: Images) -> Stage:
    """All updates of the paper's search, of all starts of an image."""
    subject, settings = context.subject, reference.usual(context.subject.generator)
    problem = Problem(subject.params, subject.space, MULTISCALE, subject.sigma, 0.0, settings.penalty)
    ids = jnp.asarray(numbered(0, len(images)))
    starts = reference.draw_starts(_key(context, "starts"), ids, subject.space, settings)
    step = jax.jit(partial(reference.step, subject.generator.synthesize))
    given = (problem, settings, images, 0, reference.init(starts, subject.bits))
    return Stage(len(images), [Program("update", step, given, settings.steps)])


def training_step(
    context: Context,
    pixels: Pixels,
    *,
    objective: Callable[..., Objective],
    fields: Mapping[str, Any],
    batch: int,
) -> Stage:
    """The step of an objective on the first `batch` of images, or on as many examples of a decoder's own.

    `objective` makes it of its fields and of the deployment or first stage, which are the context's own.
    """
    data = np.arange(batch) if objective is decoder_training.objective else pixels[:batch]
    return Stage(batch, programs(objective_of(context, objective, fields), data, seed=context.seed))


def objective_of(context: Context, make: Callable[..., Objective], fields: Mapping[str, Any]) -> Objective:
    """What `make` makes for the context."""
    if make is decoder_training.objective:
        return make(context.opened.path, **fields)
    if make is diffusion.objective:
        with tempfile.TemporaryDirectory() as folder:
            _save_first_stage(context, Path(folder))
            return make(first_stage=folder, **fields)
    return make(**fields)


def programs(objective: Objective, data: np.ndarray, *, seed: int) -> list[Program]:
    """The main update and the lazy ones, each with a first state of its own, since a call uses it up."""
    devices = mesh.data_mesh()
    init = partial(objective.init, rng.stream(rng.root(seed), "init"))
    state, batch = mesh.init_replicated(init, devices), mesh.shard_batch(devices, data)
    return [
        Program(
            "update" if number == 0 else f"every {part.every}",
            mesh.data_parallel(one_step(part, seed, number), devices),
            (jax.tree.map(jnp.copy, state), batch, np.int32(0)),
            1 / part.every,
            carry=itemgetter(0),
        )
        for number, part in enumerate((Lazy(1, objective.update), *objective.lazy))
    ]


def _save_first_stage(context: Context, folder: Path) -> None:
    """That of the deployment's own generator."""
    stored = pretrained.read(pretrained.folder_of(context.opened.manifest.generator.name))
    pretrained.save(
        folder,
        kind="first_stage",
        fields={
            "size": stored.fields["size"],
            "network": stored.fields["first_stage"],
            "scale": stored.fields["scale"],
        },
        params=stored.params["first_stage"],
        noise_seed=0,
    )


def _list_decoding(algebraic: AlgebraicCode, wrong: int, seed: int) -> Stage:
    code, random = construct(algebraic.bits, algebraic.message), np.random.default_rng(seed)
    messages = random.integers(2**algebraic.message, size=algebraic.readings, dtype=np.uint64)
    soft = np.where(encode(code, messages), SURE, -SURE).astype(np.int8)
    turned = np.argsort(random.random(soft.shape), axis=1)[:, :wrong]
    np.put_along_axis(soft, turned, -np.take_along_axis(soft, turned, axis=1), axis=1)
    return Stage(len(soft), [], "readings", lambda: decode(code, soft), whole_numbers=True)


def _untrained(context: Context, fields: Mapping[str, Any]) -> Context:
    """The context with a StyleGAN2 of random weights, fingerprinted along coordinate axes."""
    made, nets, bits = stylegan2.make(**fields), stylegan2.networks(**fields), context.subject.bits
    d, axes = made.latent_dim, jnp.eye(made.latent_dim)
    weights = jax.jit(lambda: stylegan2.init(nets, rng.root(context.seed)))()
    params = {**weights, "noise": stylegan2.fixed_noise(fields["size"], context.seed)}
    space = Space(jnp.zeros(d), axes[bits:], jnp.ones(d - bits), axes[:bits], jnp.ones(bits))
    loaded = Pretrained(made, params, "untrained", identity="")
    subject = subject_of(loaded, space, sigma=1.0, coding=context.subject.coding)
    return context._replace(subject=subject)


def _untrained_decoder(
    context: Context, trained: TrainedDecoder, fields: Mapping[str, Any], batch: int
) -> Stage:
    """A decoder of the deployment's sizes for an untrained network."""
    subject = _untrained(context, fields).subject
    shape, content = subject.generator.image_shape, subject.space.content_axes.shape[0]
    images = jax.random.uniform(_key(context, "images"), (batch, *shape), minval=-1.0)
    network = trained.decoder.clone(content=content, bits=subject.bits)
    start = decoder.blank(1, content=content, bits=subject.bits)
    weights = jax.jit(network.init)(_key(context, "decoder"), images[:1], images[:1], start)["params"]
    return decoding(subject, trained._replace(decoder=network, weights=weights), images)


def _key(context: Context, name: str) -> Key:
    return rng.stream(rng.root(context.seed), name)
