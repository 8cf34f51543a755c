"""The memory of fitting a latent of 12 288 numbers, like a 64x64x3 latent map, in a new process.

Read from the process's own status: `ru_maxrss` begins with what its parent held when it was forked.
"""

import subprocess
import sys

import pytest

LIMIT = 4 << 20  # KiB
PROGRAM = r"""
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from latentfp.choices import Coding
from latentfp.deployment.deployment import create
from latentfp.deployment.fitting import Sampling, sample_basis
from latentfp.deployment.manifest import GeneratorFacts
from latentfp.generators.generator import Generator
from latentfp.generators.pretrained import Pretrained

D = 12_288
spectrum = jnp.exp(-jnp.arange(D) / 2000.0)


def sample(params, key, n):
    return spectrum[None] * jax.random.normal(key, (n, D))


generator = Generator("large", D, (64, 64, 3), sample, lambda params, w: w)
basis = sample_basis(Pretrained(generator, {}, "large", "00" * 32), Sampling(10_000, 0, axes=192))
made = create(
    Path(sys.argv[1]) / "deployment", generator=GeneratorFacts("large", "00" * 32), basis=basis, sigma=1.0,
    shift=128, bits=64, coding=Coding.ANTIPODAL, min_distance=16,
)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
print(made.space.code_axes.shape, peak)
"""


@pytest.mark.slow
def test_ten_thousand_samples_take_less_than_4_gib(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=True
    )
    *shape, peak = done.stdout.split()
    assert " ".join(shape) == "(64, 12288)"
    assert int(peak) < LIMIT
