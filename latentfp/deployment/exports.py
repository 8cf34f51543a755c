"""A user's copy for the software that the user already has.

A generator that can have a map of its latents built in (StyleGAN2) becomes an ordinary checkpoint of the
format that is asked for. Of any other (latent diffusion) the map itself is written: tensors `axes` [k d] and
`offset` [d] of `w - (w @ axes.T) @ axes + offset`, to be applied to the latents just before they are decoded;
fingerprint/pipeline.py and docs/your_pipeline.md say how. Its axes are rotated at random, so that they do not
tell the bits apart.
"""

import enum
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentfp.checkpoints import stylegan2_names as names
from latentfp.checkpoints.adopt import NameTable, restore
from latentfp.checkpoints.torch_writer import write_tensors
from latentfp.deployment.copies import active
from latentfp.deployment.deployment import Deployment, load_generator, open_deployment
from latentfp.fingerprint.copy import Copy, copy_for, rotated, save
from latentfp.generators import pretrained
from latentfp.generators.pretrained import Pretrained
from latentfp.types import Params


class Layout(enum.StrEnum):
    """What is written.

    rosinality: .pt with {"g_ema", "latent_avg"}; nvidia: .pt with {"G_ema"}, the state of a module of
    stylegan2-ada-pytorch or stylegan3; latentfp: a generator folder of ours; latents: the map of the latents.
    """

    ROSINALITY = "rosinality"
    NVIDIA = "nvidia"
    LATENTFP = "latentfp"
    LATENTS = "latents"


def export_copy(
    deployment: str | os.PathLike[str], *, user: str, out: Path, layout: Layout | None = None
) -> Layout:
    """Write a user's copy to `out`; no `layout`: the one that the generator came in, else ours.

    ValueError for an unknown or revoked user, an `out` that exists, and a layout that this generator cannot
    have.
    """
    opened = open_deployment(deployment)
    code = active(opened, user).code
    if out.exists():
        raise ValueError(f"{out} exists and nothing is overwritten: choose another name")
    loaded = load_generator(opened)
    manifest = opened.manifest
    copy = copy_for(opened.space, code, sigma=manifest.sigma, coding=manifest.coding)
    chosen = _usual(loaded) if layout is None else layout
    _write(opened, loaded, rotated(copy, secrets.randbits(128)), out, chosen)
    return chosen


def folded(loaded: Pretrained, copy: Copy) -> Params:
    """The parameters of a generator with the copy built in. ValueError where that is not possible."""
    if loaded.generator.fold is None:
        raise ValueError(f"a {loaded.generator.name} cannot have a code built in: export it as latents")
    return loaded.generator.fold(loaded.params, copy.axes, copy.offset)


def _usual(loaded: Pretrained) -> Layout:
    if loaded.generator.fold is None:
        return Layout.LATENTS
    origin = pretrained.read(pretrained.folder_of(loaded.name)).source or {}
    known = {Layout.ROSINALITY.value, Layout.NVIDIA.value}
    return Layout(origin["format"]) if origin.get("format") in known else Layout.LATENTFP


def _write(opened: Deployment, loaded: Pretrained, copy: Copy, out: Path, layout: Layout) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if layout is Layout.LATENTS:
        save(out, copy)
        return
    params, stored = folded(loaded, copy), pretrained.read(pretrained.folder_of(loaded.name))
    if layout is Layout.LATENTFP:
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
    write_tensors(out, _foreign(stored.fields, params, layout))


def _foreign(fields: Mapping[str, Any], params: Params, layout: Layout) -> dict[str, Any]:
    size = fields["size"], fields.get("mapping_layers", 8)
    if layout is Layout.NVIDIA:
        return {"G_ema": _tensors(params, names.nvidia_generator(*size))}
    tensors = _tensors(params, names.rosinality_generator(*size))
    average = {"latent_avg": tensors.pop("latent_avg")}
    return {"g_ema": {name.removeprefix("g_ema."): x for name, x in tensors.items()}, **average}


def _tensors(params: Params, table: NameTable) -> dict[str, np.ndarray]:
    return {name: np.asarray(x, np.float32) for name, x in restore(params, table).items()}
