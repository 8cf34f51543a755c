"""A user's copy for the software that the user already has.

A generator that can have a map of its latents built in (StyleGAN2) becomes an ordinary checkpoint of the
format that is asked for. Of any other (latent diffusion) the map itself is written: tensors `axes` [k d] and
`offset` [d] of `w - (w @ axes.T) @ axes + offset`, to be applied to the latents just before they are decoded;
fingerprint/copy.py does it. Its axes are rotated at random, so that they do not
tell the bits apart.
"""

import enum
import secrets
from pathlib import Path

from latentfp.checkpoints.stylegan2 import to_nvidia, to_rosinality
from latentfp.checkpoints.torch_writer import write_tensors
from latentfp.deployment.copies import active, log
from latentfp.deployment.deployment import Deployment, Opening, load_generator, open_deployment
from latentfp.fingerprint.copy import Copy, copy_for, rotated, save
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.types import Params


class CopyFormat(enum.StrEnum):
    """What is written.

    rosinality: .pt with {"g_ema", "latent_avg"}; nvidia: .pt with {"G_ema"}, the state of a module of
    stylegan2-ada-pytorch or stylegan3; latentfp: a generator folder of ours; latents: the map of the latents.
    """

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    LATENTFP = "latentfp"
    LATENTS = "latents"


def export_copy(deployment: Opening, *, user: str, out: Path, form: CopyFormat | None = None) -> CopyFormat:
    """Write a user's copy to `out`; no `form`: the one that the generator came in, else ours.

    ValueError for an unknown or revoked user, an `out` that exists, and a format that this generator cannot
    have.
    """
    opened = open_deployment(deployment)
    code = active(opened, user).code
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another name")
    loaded = load_generator(opened)
    manifest = opened.manifest
    copy = copy_for(opened.space, code, sigma=manifest.sigma, coding=manifest.coding)
    chosen = _usual(loaded) if form is None else form
    log(opened, "export", {"name": user, "format": chosen.value, "file": out.name})
    _write(opened, loaded, rotated(copy, secrets.randbits(128)), out, chosen)
    return chosen


def folded(loaded: Pretrained, copy: Copy) -> Params:
    """The parameters of a generator with the copy built in. ValueError where that is not possible."""
    if loaded.generator.fold is None:
        raise ValueError(f"a {loaded.generator.name} cannot have a code built in: export it as latents")
    return loaded.generator.fold(loaded.params, copy.axes, copy.offset)


def _usual(loaded: Pretrained) -> CopyFormat:
    if loaded.generator.fold is None:
        return CopyFormat.LATENTS
    origin = pretrained.read(pretrained.folder_of(loaded.name)).source or {}
    known = {CopyFormat.ROSINALITY.value, CopyFormat.NVIDIA.value}
    return CopyFormat(origin["format"]) if origin.get("format") in known else CopyFormat.LATENTFP


def _write(opened: Deployment, loaded: Pretrained, copy: Copy, out: Path, form: CopyFormat) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if form is CopyFormat.LATENTS:
        save(out, copy)
        return
    params, stored = folded(loaded, copy), pretrained.read(pretrained.folder_of(loaded.name))
    if form is CopyFormat.LATENTFP:
        pretrained.save(
            out,
            kind=stored.kind,
            fields=stored.fields,
            params=params,
            noise_seed=None,
            half=False,
            source={
                "format": "copy",
                "sha256": {Path(loaded.name).name: loaded.sha256},
                "deployment": opened.manifest.id,
            },
        )
        return
    write = to_nvidia if form is CopyFormat.NVIDIA else to_rosinality
    write_tensors(out, write(stored.fields, params))
