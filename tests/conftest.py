"""Strict JAX for every test: eight fake devices, no silent rank promotion, no reused key, exact products."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_default_matmul_precision", "highest")

GOLDEN = Path(os.environ.get("LATENTFP_GOLDEN") or Path(__file__).parents[2] / "shared" / "golden")
MISSING = "golden file missing: "


@pytest.fixture
def key():
    return jax.random.key(20230727)


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Compile without most optimisations, from here to the end of the file: three times as fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


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
    """Say loudly how many parity tests did not run."""
    skipped = [r for r in terminalreporter.getreports("skipped") if MISSING in str(r.longrepr)]
    if skipped:
        line = f"GOLDEN FILES MISSING: {len(skipped)} parity tests did not run (looked in {GOLDEN})"
        terminalreporter.section("WARNING", sep="!", red=True, bold=True)
        terminalreporter.line(line, red=True, bold=True)
