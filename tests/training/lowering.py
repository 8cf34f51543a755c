"""Every program that is compiled here, lowered for accelerators too, as it is first called.

    PYTHONPATH=.:tests python tests/training/lowering.py PIPELINE

prints how many programs were lowered, and each that could not be. `jax.jit` is wrapped before the library is
imported, so whatever it compiles is seen.
"""

import sys
import tempfile
from pathlib import Path

import jax
from jax.core import Tracer

PLATFORMS = ("cuda", "tpu")
lowered: set[str] = set()
failed: dict[str, str] = {}
real = jax.jit


class Program:
    """A compiled function that is lowered whenever it is called with new shapes."""

    def __init__(self, function, **options):
        self.compiled = real(function, **options)
        self.name = getattr(function, "__qualname__", repr(getattr(function, "func", function)))
        self.seen = set()

    def __call__(self, *args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        if not any(isinstance(leaf, Tracer) for leaf in leaves):
            self._lower(args, kwargs, (tree, *map(shape, leaves)))
        return self.compiled(*args, **kwargs)

    def _lower(self, args, kwargs, key):
        if key in self.seen:
            return
        self.seen.add(key)
        for platform in PLATFORMS:
            try:
                self.compiled.trace(*args, **kwargs).lower(lowering_platforms=(platform,))
            except Exception as error:  # noqa: BLE001
                failed[f"{self.name} on {platform}"] = f"{type(error).__name__}: {error}".splitlines()[0]
        lowered.add(self.name)

    def __getattr__(self, name):
        return getattr(self.compiled, name)

    def __get__(self, instance, owner=None):
        return self if instance is None else lambda *args, **kwargs: self(instance, *args, **kwargs)


def shape(leaf):
    """What of an argument decides which program runs."""
    return (leaf.shape, str(leaf.dtype)) if hasattr(leaf, "dtype") else repr(leaf)[:200]


def wrapped(function=None, **options):
    """`jax.jit`."""
    return (lambda it: Program(it, **options)) if function is None else Program(function, **options)


def attribution(folder):
    """Fit, register, generate, damage, every stage, several files together."""
    from random_stylegan2 import fit_random_stylegan2
    from small_decoder import deployment_with_decoder

    import latentfp as lf
    from latentfp.choices import Method
    from latentfp.deployment.attribute import Request, attribute

    for opened in (fit_random_stylegan2(folder / "stylegan2").path, deployment_with_decoder(folder)):
        dep = lf.open(opened)
        dep.users.add("carol")
        images = dep.generate("carol", count=2)
        brief = {"starts": 1, "steps": 2, "alpha": 0.1}
        for damage in (None, {"quality": 50.0}):
            list(attribute(opened, images, Request(method=Method.MULTISTART, damage=damage, **brief)))
        list(attribute(opened, images, Request(method=Method.REFERENCE, **brief)))
        if opened.parent == folder:
            dep.attribute(images, together=True, alpha=0.1)


def descents_on_a_device(folder):
    """Whose steps are one program."""
    from random_stylegan2 import fit_random_stylegan2

    import latentfp as lf
    from latentfp.attribution import descent
    from latentfp.choices import Method
    from latentfp.deployment.attribute import Request, attribute

    descent.host_steps = lambda: False
    opened = fit_random_stylegan2(folder / "stylegan2").path
    dep = lf.open(opened)
    dep.users.add("carol")
    images = dep.generate("carol", count=2)
    list(attribute(opened, images, Request(method=Method.MULTISTART, starts=1, steps=2, alpha=0.1)))


def adversarial_training(folder):
    """Of a StyleGAN2."""
    from test_gan_program import train

    train(folder, 1)


def diffusion_training(folder):
    """Of a first stage, and of a denoiser in its latents."""
    from test_latent_diffusion_program import diffusion, first_stage, train

    train(first_stage(), folder / "first_stage", 1)
    train(diffusion(folder / "first_stage" / "export"), folder / "diffusion", 1)


def decoder_training(folder):
    """Of a decoder on a linear generator."""
    from linear_space import write_deployment
    from test_decoder_program import train

    train(folder / "decoder", write_deployment(folder, size=16, sigma=2.0), 1)


def search(folder):
    """Of codes, by distance and by score, and of the words of an algebraic code."""
    del folder
    import numpy as np

    from latentfp.attribution import list_decoding
    from latentfp.attribution.search import best, nearest
    from latentfp.fingerprint import bch

    random = np.random.default_rng(0)
    book = random.integers(256, size=(5000, 8), dtype=np.uint8)
    soft = random.integers(-24, 25, size=(3, 64)).astype(np.int8)
    nearest(book[:3], book, top=2)
    best(soft, book, top=2)
    list_decoding.decode(bch.family(64)[-1], soft, top=4)


PIPELINES = {
    it.__name__: it
    for it in (
        attribution,
        descents_on_a_device,
        adversarial_training,
        diffusion_training,
        decoder_training,
        search,
    )
}


if __name__ == "__main__":
    jax.jit = wrapped
    with tempfile.TemporaryDirectory() as place:
        PIPELINES[sys.argv[1]](Path(place))
    for what, why in failed.items():
        sys.stdout.write(f"FAILED {what}: {why}\n")
    sys.stdout.write(f"{len(lowered)} programs: {', '.join(sorted(lowered))}\n")
