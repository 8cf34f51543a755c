"""The throughput bench as a table, beside the machine's peak and the last run of the history."""

from pathlib import Path
from typing import Any

from latentfp.report.markdown import made_with, number, plain, table

COUNTED = (
    "*GFLOP* and *MB* of an image (a query) are XLA's count of its own optimised program: multiplications, "
    "additions and elementwise operations, without exponentials and the like and without sorts; and the "
    "bytes that every instruction reads and writes, also where they never leave a cache, so a share of the "
    "copy may exceed 100 %. XLA counts the body of a loop once; here a loop counts as often as it runs, and "
    "a dash means that nobody knows how often. *Of product* is the share of the matrix product's operations "
    "a second, *of copy* that of the copy's bytes a second. The search calculates with whole numbers, which "
    "a product of floating-point numbers does not measure. In training, an update that follows every n-th "
    "step counts as an n-th of a step."
)
COMPILED = (
    "*Spread* is by what share the slowest round took longer than the best, which counts. *Compile* is all "
    "of a stage's programs, from nothing: traced, lowered and compiled without a cache. *Memory* is the "
    "largest program's: its arguments, results and what lies between."
)


def write_bench(folder: Path, result: dict[str, Any]) -> Path:
    """Write bench.md, the result of bench.throughput.run."""
    peak, plan = result["peak"], result["plan"]
    page = [
        f"# {result['title']}",
        f"The best of {plan['rounds']} rounds. The machine at best, measured before the stages and after "
        f"each: {peak['flops'] / 1e9:.4g} GFLOP/s in a float32 product of {plan['side']}x{plan['side']} "
        f"matrices (spread {peak['flops_spread']:.0%}), {peak['bandwidth'] / 1e9:.3g} GB/s, read and written "
        f"in place, in a copy of {plan['mib']} MiB (spread {peak['bandwidth_spread']:.0%}).",
        table(_columns(result)),
        COUNTED,
        f"{COMPILED} The whole run held at most {result['peak_memory_mib']:.0f} MiB{_on_device(result)}.",
        _compared(result),
        plain(f"{result['device']}, jax {result['jax']}, commit {result['commit']}, {result['date']}."),
        made_with(result["command"]),
    ]
    path = folder / "bench.md"
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return path


def _columns(result: dict[str, Any]) -> dict[str, list[str]]:
    rows = result["stages"].values()
    ratios = [ratio(result, name) for name in result["stages"]]
    return {
        "stage": [plain(name) for name in result["stages"]],
        "batch": [f"{row['items']} {row['unit']}" for row in rows],
        "a second": [f"{row['per_second']:.4g}" for row in rows],
        "spread": [f"{row['spread']:.0%}" for row in rows],
        "GFLOP": [number(_each(row, "flops", 1e9), ".3g") for row in rows],
        "MB": [number(_each(row, "bytes", 1e6), ".3g") for row in rows],
        "of product": [number(row["product_share"], ".1%") for row in rows],
        "of copy": [number(row["copy_share"], ".0%") for row in rows],
        "compile, s": [f"{row['compile_seconds']:.1f}" for row in rows],
        "memory, MiB": [f"{row['memory_mib']:.0f}" for row in rows],
        "to before": [number(it and it[0], ".2f") for it in ratios],
        "by product": [number(it and it[1], ".2f") for it in ratios],
    }


def ratio(result: dict[str, Any], stage: str) -> tuple[float, float] | None:
    """Speed now to that of the previous run, and the same divided by the ratio of the products' speeds."""
    before = result["previous"]
    if before is None or stage not in before["per_second"]:
        return None
    faster = result["stages"][stage]["per_second"] / before["per_second"][stage]
    return faster, faster / (result["peak"]["flops"] / before["peak"]["flops"])


def _each(row: dict[str, Any], name: str, unit: float) -> float | None:
    """Of one image or query."""
    return None if row[name] is None else row[name] * row["devices"] / row["items"] / unit


def _on_device(result: dict[str, Any]) -> str:
    held = [row["device_peak_mib"] for row in result["stages"].values() if row["device_peak_mib"] is not None]
    return f", and {max(held):.0f} MiB of the device" if held else ""


def _compared(result: dict[str, Any]) -> str:
    before = result["previous"]
    if before is None:
        return "The history holds no earlier run of these settings on such a device with this version of JAX."
    return (
        f"*To before* is the speed over that of commit {plain(str(before['commit']))} on {before['date']}; "
        "*by product* divides it by the ratio of the two products' speeds, which shows what the machine "
        "itself did: where the two columns differ much, neither is to be trusted."
    )
