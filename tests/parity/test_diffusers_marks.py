"""Marks in the latents of the real diffusers' pipelines, and a provider's way by the page's commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import random_pipelines
import tiny_pipeline
import torch

from latentfp.fingerprint.latent_copy import Copy, LatentFormat, apply, load, save
from latentfp.integrations.diffusers import Mark, collect

pytestmark = [pytest.mark.parity, pytest.mark.slow]

SHAPE = (4, 8, 8)
D = int(np.prod(SHAPE))
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your_pipeline.md").read_text()


@pytest.fixture(scope="module", params=random_pipelines.PIPELINES)
def made(request):
    return random_pipelines.make(request.param)


def write_copy(path, pipe, seed=0):
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.standard_normal((D, 16)))[0].T
    config = pipe.vae.config
    layout = LatentFormat(SHAPE, config.scaling_factor, config.shift_factor or 0.0)
    save(path, Copy(axes, 2 * random.standard_normal(16) @ axes, layout))
    return path


def maps(latents):
    """Of packed latents too."""
    found = latents.float().numpy()
    if found.ndim == 4:
        return found
    parts = found.reshape(-1, 4, 4, 4, 2, 2)
    return parts.transpose(0, 3, 1, 4, 2, 5).reshape(-1, *SHAPE)


def test_the_code_is_written_and_nothing_else(made, tmp_path):
    file = write_copy(tmp_path / "copy", made.pipe)
    plain, marked = (made(2, output_type="latent", **more) for more in ({}, Mark(file).kwargs))
    assert (marked.shape, marked.dtype) == (plain.shape, plain.dtype)
    np.testing.assert_array_equal(maps(marked), apply(load(file), maps(plain)))
    assert np.abs(maps(marked) - maps(plain)).max() > 0.1


def test_callback_and_wrapper_make_the_same_images(made, tmp_path):
    mark = Mark(write_copy(tmp_path / "copy", made.pipe))
    by_callback = made(2, output_type="np", **mark.kwargs)
    with mark.decoding(made.pipe):
        by_wrapper = made(2, output_type="np")
    np.testing.assert_allclose(by_wrapper, by_callback, atol=1e-5)
    assert np.abs(by_callback - made(2, output_type="np")).max() > 1e-3


def test_every_row_bears_its_own_code(made, tmp_path):
    files = [write_copy(tmp_path / f"{seed}", made.pipe, seed) for seed in range(2)]
    plain = maps(made(2, output_type="latent"))
    marked = maps(made(2, output_type="latent", **Mark(files).kwargs))
    for row, file in enumerate(files):
        np.testing.assert_array_equal(marked[row : row + 1], apply(load(file), plain[row : row + 1]))


def test_latents_are_collected_as_the_pipeline_counts_them(made):
    plain = maps(made(2, output_type="latent"))
    options = {"height": 32, "width": 32, "num_inference_steps": 2}
    text = made.text(2)

    def pipe(_, **more):
        return made.pipe(**text, generator=torch.Generator().manual_seed(5), **more)

    pipe.vae = made.pipe.vae
    found = collect(pipe, ["any"], output_type="np", **options)
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_torch_jax_and_numpy_give_the_same_latents(made, tmp_path, precision):
    """Bit for bit in single precision; else rounded to it once."""
    mark = Mark(write_copy(tmp_path / "copy", made.pipe))
    given = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).to(precision)
    found = mark.latents(given)
    assert (found.dtype, found.device) == (precision, given.device)
    numbers = mark.latents(given.float().numpy())
    np.testing.assert_array_equal(found.float().numpy(), torch.tensor(numbers).to(precision).float().numpy())
    np.testing.assert_array_equal(mark.latents(jnp.asarray(given.float().numpy())), numbers)


def commands():
    """Those of the page, in turn: what kind of block, and its text."""
    return re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.DOTALL)


def test_a_provider_does_as_the_page_says(tmp_path, monkeypatch):
    """All its commands, in an empty folder, with a tiny pipeline that was trained for a minute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    pipe = tiny_pipeline.make(0)
    pipe.save_pretrained("stable-diffusion")
    torch.manual_seed(0)
    # The page's pipeline makes 512 pixels a side and takes 1000 prompts.
    given = {"pipe": pipe, "prompts": [["a"] * 64] * 8, "options": {"num_inference_steps": 10}}
    said = ""
    for kind, text in commands():
        if kind == "python":
            exec(text, given)
            continue
        for line in text.replace("--size 512", "--size 32").splitlines():
            command = shlex.split(line, comments=True)
            if command and command[0] == "latentfp":
                ended = subprocess.run(command, capture_output=True, text=True, check=False)
                assert ended.returncode == 0, (line, ended.stderr)
                said += ended.stdout
    assert re.search(r"red-house\.png.*alice", said), said
    assert "alice" in Path("case.html").read_text()
