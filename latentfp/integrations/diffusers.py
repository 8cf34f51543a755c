"""Pipelines of diffusers whose images bear a user's code.

    mark = lf.integrations.diffusers.Mark("alice.safetensors")
    image = pipe("a red house", **mark.kwargs).images[0]

The file is what `latentfp users export --format latents` writes. The code goes into the latents just before
they are decoded. Nothing here imports PyTorch or diffusers: tensors are marked by NumPy on the host, so that
the same latents come out of every framework, bit for bit in float32, and rounded to half precision where they
are in half precision.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from latentfp.fingerprint.latent_copy import Copy, apply, for_decoder, load

Array = TypeVar("Array")  # a NumPy or JAX array, or a tensor of PyTorch
File = str | os.PathLike[str]


class Mark:
    """Writes the codes of users' copies into the latents of a pipeline.

    `copies`: the file of a copy for all images; or several, which share a batch in turn, as prompts do that
    are drawn several times each. ValueError for files that are no copies, or of different latents.
    """

    def __init__(self, copies: File | Sequence[File]):
        files = [copies] if isinstance(copies, str | os.PathLike) else list(copies)
        self._copies = [load(Path(file)) for file in files]
        if len({(len(copy.offset), copy.latent) for copy in self._copies}) != 1:
            raise ValueError(f"{len(files)} copies of different latents, expected some of one deployment")

    @property
    def kwargs(self) -> dict[str, Any]:
        """What a pipeline that takes `callback_on_step_end` is called with. ValueError at its last step where
        the pipeline decodes something else than its latents: use `decoding`."""
        return {
            "callback_on_step_end": self._at_step_end,
            "callback_on_step_end_tensor_inputs": ["latents"],
        }

    def _at_step_end(self, pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == pipe.num_timesteps - 1:
            _check_plain(pipe)
            tensors["latents"] = self.latents(tensors["latents"])
        return tensors

    def latents(self, latents: Array) -> Array:
        """The latents with the codes, in their shape, precision and place.

        Latents are as the pipeline counts them: maps [n, channels, rows, columns], or packed [n, rows/2 ·
        columns/2, 4 · channels], as FLUX has them. ValueError for other shapes, for latents that are not
        finite, and where the copies cannot share them evenly.
        """
        found = _to_numpy(latents)
        maps = _unpacked(found, self._copies[0].latent.shape)
        marked = _marked(self._copies, found if maps is None else maps)
        return _as(latents, marked if maps is None else _packed(marked, found.shape))

    @contextmanager
    def decoding(self, pipe: Any) -> Iterator[None]:
        """Marks whatever the pipeline's autoencoder decodes meanwhile: for every pipeline, with or without
        callbacks.

            with mark.decoding(pipe):
                images = pipe("a red house").images
        """
        copies = [for_decoder(copy) for copy in self._copies]
        with _before_decoding(pipe, lambda z: _as(z, _marked(copies, _to_numpy(z)))):
            yield


def collect(pipe: Any, prompts: Iterable[Any], **options: Any) -> Float[np.ndarray, "n c h w"]:
    """The latents that a pipeline decodes for batches of prompts, float32, for `latentfp fit --latents`.

    They are as pipelines count them, w = (z - shift_factor) · scaling_factor. `options` are the pipeline's.
    """
    seen: list[np.ndarray] = []

    def keep(z: Array) -> Array:
        seen.append(_to_numpy(z))
        return z

    with _before_decoding(pipe, keep):
        for batch in prompts:
            pipe(batch, **options)
    config: Mapping[str, Any] = dict(_autoencoder(pipe).config)
    scale, shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0
    return (np.concatenate(seen) - np.float32(shift)) * np.float32(scale)


@contextmanager
def _before_decoding(pipe: Any, change: Callable[[Any], Any]) -> Iterator[None]:
    vae = _autoencoder(pipe)
    decode, own = vae.decode, "decode" in vars(vae)

    def changed(z: Any, *arguments: Any, **options: Any) -> Any:
        return decode(change(z), *arguments, **options)

    vae.decode = changed
    try:
        yield
    finally:
        del vae.decode  # what its class has comes back
        if own:
            vae.decode = decode


def _autoencoder(pipe: Any) -> Any:
    for name in ("vae", "vqvae"):
        if getattr(pipe, name, None) is not None:
            return getattr(pipe, name)
    raise ValueError(f"a {type(pipe).__name__} has no autoencoder `vae` or `vqvae`")


def _check_plain(pipe: Any) -> None:
    """ValueError for pipelines that turn the latents of a callback into others before they decode them."""
    vae = _autoencoder(pipe)
    config = dict(vae.config)
    if config.get("latents_mean") is not None or getattr(vae, "bn", None) is not None:
        raise ValueError(
            f"a {type(pipe).__name__} scales latents by channel before it decodes them: "
            "use `with mark.decoding(pipe): …` instead of `**mark.kwargs`"
        )


def _marked(copies: Sequence[Copy], maps: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    n, given = len(maps), len(copies)
    if n % given:
        raise ValueError(f"{given} copies cannot share a batch of {n} latents evenly")
    parts = np.split(maps, given)
    return np.concatenate([apply(copy, part) for copy, part in zip(copies, parts, strict=True)])


def _unpacked(latents: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Maps of latents [n, rows/2 · columns/2, channels · 2 · 2], or None of others."""
    if len(shape) != 3 or latents.ndim != 3:
        return None
    channels, rows, columns = shape
    if latents.shape[1:] != (rows // 2 * (columns // 2), 4 * channels):
        return None
    parts = latents.reshape(-1, rows // 2, columns // 2, channels, 2, 2)
    return parts.transpose(0, 3, 1, 4, 2, 5).reshape(-1, channels, rows, columns)


def _packed(maps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, channels, rows, columns = maps.shape
    parts = maps.reshape(n, channels, rows // 2, 2, columns // 2, 2)
    return parts.transpose(0, 2, 4, 1, 3, 5).reshape(shape)


def _to_numpy(latents: Any) -> Float[np.ndarray, "n ..."]:
    if hasattr(latents, "detach"):
        return latents.detach().float().cpu().numpy()
    return np.asarray(latents, np.float32)


def _as(given: Any, marked: np.ndarray) -> Any:
    """An array of the same kind, precision and place."""
    if hasattr(given, "new_tensor"):
        return given.new_tensor(marked)
    if isinstance(given, np.ndarray):
        return marked.astype(given.dtype)
    import jax.numpy as jnp

    return jnp.asarray(marked, given.dtype)
