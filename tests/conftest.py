"""Strict JAX for every test, compiled in a hurry and kept; what the default run leaves out; shared fixtures.

JAX is strict: eight fake devices, no silent rank promotion, no reused key, exact products.

Programs are compiled without most optimisations, three times as fast. A file in which optimised code is what
is tested, or that computes for long, says `pytestmark = pytest.mark.optimised`. Compiled programs are kept in
.pytest_cache, for both processes of a run and for later runs (`pytest --cache-clear` forgets them): those of
the tests by JAX itself, those of commands that tests start through LATENTFP_CACHE.

`pytest.mark.slow` is what `pytest` leaves out and `pytest --all` runs; a test that is named (file.py::test)
runs in any case. The summary says how many were left out, and which golden files are missing.

Fixtures for all rooms: `key`; `golden`. Helpers beside this file: `linear_space.write_deployment` (fitted
once a process, copied for every test), `linear_space.linear_space`, `small_decoder`, `tolerances`,
`gradients.assert_gradient`.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_disable_most_optimizations", True)

GOLDEN = Path(os.environ.get("LATENTFP_GOLDEN") or Path(__file__).parents[2] / "shared" / "golden")
MISSING = "golden file missing: "
LEFT_OUT = "slow: left out without --all"
MOST_KEPT = 2 * 2**30  # bytes of compiled programs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests marked slow too")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between the processes of a run, and between runs."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    own, commands = config.cache.mkdir("compiled"), config.cache.mkdir("commands")
    commands.chmod(0o700)  # or the package would not trust it
    if not hasattr(config, "workerinput") and sum(f.stat().st_size for f in own.iterdir()) > MOST_KEPT:
        shutil.rmtree(own)
    os.environ.setdefault("LATENTFP_CACHE", str(commands))
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    # Another process may be writing what this one reads; then it is compiled again.
    trouble = "ignore:Error (reading|writing) persistent compilation cache:UserWarning"
    config.addinivalue_line("filterwarnings", trouble)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is slow, unless all tests or this one were asked for."""
    if config.getoption("--all") or any("::" in argument for argument in config.args):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=LEFT_OUT))


@pytest.fixture(scope="module", autouse=True)
def _optimised(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile with all optimisations in files that are marked so."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()


@pytest.fixture
def key():
    return jax.random.key(20230727)


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """The path of a folder of golden numbers (LATENTFP_GOLDEN, else ../shared/golden); skips if missing."""

    def find(name: str) -> Path:
        path = GOLDEN / name
        if not path.exists():
            pytest.skip(f"{MISSING}{path}")
        return path

    return find


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests did not run."""
    skipped = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    left_out = sum(LEFT_OUT in reason for reason in skipped)
    if left_out:
        line = f"LEFT OUT: {left_out} slow tests (processes, kills, trainings); --all runs them"
        terminalreporter.line(line, yellow=True, bold=True)
    missing = sum(MISSING in reason for reason in skipped)
    if missing:
        line = f"GOLDEN FILES MISSING: {missing} parity tests did not run (looked in {GOLDEN})"
        terminalreporter.section("WARNING", sep="!", red=True, bold=True)
        terminalreporter.line(line, red=True, bold=True)
