"""Throughput of the decoder stage on a generator of any architecture, with random weights."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latentfp import rng
from latentfp.attribution.decoder import Decoder, blank
from latentfp.attribution.ends import Subject
from latentfp.attribution.rungs import decoder_rung
from latentfp.attribution.whitening import Curvature, whiten
from latentfp.fingerprint.basis import Space
from latentfp.fingerprint.embed import Coding
from latentfp.generators.stylegan2 import model
from latentfp.runtime.progress import track
from latentfp.studies.scene import Scene
from latentfp.studies.speed import best_seconds

BITS = 64
LOOKS = (1, 3)


def decoder_speeds(scene: Scene, fields: Mapping[str, Any], *, images: int) -> dict[str, dict[str, float]]:
    """By the number of looks: images a second, and the first call's seconds.

    `fields` of a StyleGAN2; the decoder has the sizes of the deployment's, else the usual ones.
    """
    subject = random_subject(fields, scene.seed)
    content = subject.space.content_axes.shape[0]
    trained = scene.decoder
    usual = Decoder(content=content, bits=BITS)
    decoder = usual if trained is None else trained.decoder.clone(content=content, bits=BITS)
    shape = subject.generator.image_shape
    image, key = jnp.zeros((1, *shape)), rng.stream(rng.root(scene.seed), "decoder")
    weights = jax.jit(decoder.init)(key, image, image, blank(1, content=content, bits=BITS))["params"]
    shown = np.random.default_rng(scene.seed).uniform(-1, 1, (images, *shape)).astype(np.float32)
    found = {}
    for looks in track(LOOKS, "decoder with random weights, by looks"):
        read = decoder_rung(subject, decoder, weights, looks=looks).run
        first, seconds = best_seconds(partial(read, shown, np.arange(images), None, lambda _: None))
        found[str(looks)] = {"images_per_second": images / seconds, "first_call_seconds": first}
    return found


def random_subject(fields: Mapping[str, Any], seed: int) -> Subject:
    """A StyleGAN2 with random weights, fingerprinted along coordinate axes."""
    made, nets = model.make(**fields), model.networks(**fields)
    weights = model.init(nets, rng.root(seed))
    d = made.latent_dim
    axes = jnp.eye(d)
    space = Space(jnp.zeros(d), axes[BITS:], jnp.ones(d - BITS), axes[:BITS], jnp.ones(BITS))
    white = whiten(space, sigma=1.0, coding=Coding.ANTIPODAL)
    params = {**weights, "noise": model.fixed_noise(fields["size"], seed)}
    return Subject(made, params, space, white, 1.0, Coding.ANTIPODAL, partial(Curvature, jnp.ones(d), axes))
