"""What NumPy and JAX read from the environment when they are imported, set before a command imports them."""

import os

from latentfp.runtime.cache import enable_compilation_cache


def prepare() -> None:
    """One thread for NumPy's linear algebra, JAX's compilation cache, and no messages of its compiler.

    The user's own settings win. What the compiler says, of slow programs and of devices that it looked for,
    tells a user nothing to do; errors reach Python all the same.

    Matrices here have a few hundred rows. Where other programs keep the cores busy, OpenBLAS's threads wait
    for one another: the eigenvectors of 512 rows take 4 s with two threads and 0.03 s with one.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    enable_compilation_cache()
