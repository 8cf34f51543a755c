"""What NumPy and JAX read from the environment when they are imported, and folders of the user's cache.

Nothing of theirs is imported here, for commands set it before. Compiled programs are kept between commands in
JAX's own persistent cache: entries are named by a hash of the program, the versions and the processor's or
accelerator's features, so computers may share a home folder; the least recently used ones are deleted beyond
MAX_BYTES.
"""

import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

MAX_BYTES = 256 * 2**20
MIN_SECONDS = "0.01"  # of compilation; an entry is read in 0.002, and each one slows every writing by 30 us
FIRST_QUIET_JAX = (0, 10, 2)  # older ones log two errors for every program that they load on a CPU
SETTINGS = {
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(MAX_BYTES),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": MIN_SECONDS,
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # further files, which MAX_BYTES would not count
}
TROUBLE = "Error (reading|writing) persistent compilation cache|Cache value for key"


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


def enable_compilation_cache() -> None:
    """Let JAX, which must not be imported yet, keep compiled programs in the user's cache folder.

    The folder is $LATENTFP_CACHE, or else latentfp/compiled in $XDG_CACHE_HOME or ~/.cache. The user's own
    $JAX_COMPILATION_CACHE_DIR leaves everything as it is, and other JAX_ variables win over SETTINGS;
    JAX_ENABLE_COMPILATION_CACHE=false turns the cache off. A folder that cannot be used is no error: without
    it, programs are compiled again.
    """
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ or _jax() < FIRST_QUIET_JAX:
        return
    try:
        folder = private_folder("compiled")
        if folder is None:
            return
        _delete_unfinished(folder)
    except OSError:
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    warnings.filterwarnings("ignore", TROUBLE, UserWarning)


def _jax() -> tuple[int, ...]:
    """The version of JAX, which is not imported."""
    return tuple(map(int, re.findall(r"\d+", metadata.version("jax"))[:3]))


def private_folder(kind: str) -> Path | None:
    """A folder of the user's cache that nobody else may write to; None where there is none.

    It is $LATENTFP_CACHE for compiled programs and a folder in it for other kinds, or else latentfp/KIND in
    $XDG_CACHE_HOME or ~/.cache.
    """
    try:
        folder = _folder(kind)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_ours_alone(folder) else None
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None


def _folder(kind: str) -> Path:
    own, cache = os.environ.get("LATENTFP_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        folder = Path(own).expanduser().absolute()
        return folder if kind == "compiled" else folder / kind
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "latentfp" / kind


def _is_ours_alone(folder: Path) -> bool:
    """Whether this user, and nobody else, may write there: what is read from the folder is executed."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return False
    if sys.platform == "win32":
        return True
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _delete_unfinished(folder: Path) -> None:
    """Delete entries without the time stamp that JAX writes last: its process was killed.

    One such entry makes every later writing fail, because the oldest entries cannot be found.
    """
    names = set(os.listdir(folder))
    for name in names:
        if name.endswith("-cache") and f"{name.removesuffix('-cache')}-atime" not in names:
            (folder / name).unlink(missing_ok=True)
