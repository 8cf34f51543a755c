"""The benches on paper: throughput of all stages, scaling over processes, search among codes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from latentfp.bench.roofline import DEVICES, HERE, Device, predicted
from latentfp.report.markdown import Cell, Row, number, plain, table, thousands, write_page

COUNTED = (
    "*GFLOP* and *MB* of an image (a query) are XLA's count of its own optimised program: multiplications, "
    "additions and elementwise operations, without exponentials and the like and without sorts; and the "
    "bytes that every instruction reads and writes, also where they never leave a cache, so a share of the "
    "copy may exceed 100 %. XLA counts the body of a loop once; here a loop counts as often as it runs, and "
    "a dash means that this is not known. *Of product* is the share of the matrix product's operations a "
    "second, *of copy* that of the copy's bytes a second. The search calculates with whole numbers, which a "
    "product of floating-point numbers does not measure. In training, an update that follows every n-th "
    "step counts as an n-th of a step."
)
COMPILED = (
    "*Spread* is by what share the slowest round took longer than the best, which counts. *Compile* is all "
    "of a stage's programs, from nothing: traced, lowered and compiled without a cache. *Memory* is the "
    "largest program's: its arguments, results and what lies between."
)
THROUGHPUT: dict[str, Cell] = {
    "stage": "{stage}",
    "batch": "{items} {unit}",
    "a second": "{per_second:.4g}",
    "spread": "{spread:.0%}",
    "GFLOP": lambda it: number(_of_one(it, "flops", 1e9), ".3g"),
    "MB": lambda it: number(_of_one(it, "bytes", 1e6), ".3g"),
    "of product": "{product_share:.1%}",
    "of copy": "{copy_share:.0%}",
    "compile, s": "{compile_seconds:.1f}",
    "memory, MiB": "{memory_mib:.0f}",
    "to before": "{ratio:.2f}",
    "by product": "{ratio_by_product:.2f}",
}
ROOFLINE: dict[str, Cell] = {
    "stage": "{stage}",
    "measured, a second": lambda it: number(it["reached"] * it[HERE], ".4g"),
    "at best here": lambda it: _bound(it, HERE),
    "reached": "{reached:.0%}",
    **{device: partial(lambda it, name: _bound(it, name), name=device) for device in DEVICES},
}
BOUNDS = (
    "What one device would do at best: the larger of the times that its published operations and bytes a "
    "second allow, for the operations and bytes above; *m* marks where memory decides. Bounds, not "
    "forecasts: compare what was reached here. A batch as small as these does not fill an accelerator."
)
SCALING: dict[str, Cell] = {
    "processes": "{processes}",
    "a second": "{per_second:.3g}",
    "times one": "{times_one:.2f}",
    "efficiency": "{efficiency:.0%}",
    "seconds": "{command_seconds:.0f}",
}
SEARCH: dict[str, Cell] = {
    "codes": lambda it: thousands(it["codes"]),
    "nearest, s": "{best_seconds[nearest]:.3g}",
    "best, s": "{best_seconds[best]:.3g}",
    "faiss, heap, s": "{best_seconds[faiss heap]:.3g}",
    "faiss, counting, s": "{best_seconds[faiss counting]:.3g}",
    "faiss / nearest": "{faiss / nearest:.1f}",
    "faiss / best": "{faiss / best:.1f}",
}


def write_throughput(folder: Path, result: dict[str, Any]) -> Path:
    """Write throughput.md, the result of bench.throughput.run."""
    peak, loads = result["peak"], result["loads"]
    rows = [{"stage": name, **row, **_ratios(result, name)} for name, row in result["stages"].items()]
    held = [row["device_peak_mib"] for row in rows if row["device_peak_mib"] is not None]
    on_device = f", and {max(held):.0f} MiB of the device" if held else ""
    return write_page(
        folder / "throughput.md",
        result,
        f"# Throughput of {plain(result['generator'])}",
        f"The best of {result['rounds']} rounds. The machine at best, measured before the stages and after "
        f"each: {peak['flops'] / 1e9:.4g} GFLOP/s in a float32 product of {loads['side']}x{loads['side']} "
        f"matrices (spread {peak['flops_spread']:.0%}), {peak['bandwidth'] / 1e9:.3g} GB/s, read and written "
        f"in place, in a copy of {loads['mib']} MiB (spread {peak['bandwidth_spread']:.0%}).",
        table(rows, THROUGHPUT),
        COUNTED,
        table(predicted(result["stages"], Device(peak["flops"], peak["bandwidth"])), ROOFLINE),
        BOUNDS,
        f"{COMPILED} The whole run held at most {result['peak_memory_mib']:.0f} MiB{on_device}.",
        _compared(result["previous"]),
        f"JAX {result['jax']}, {result['date']}.",
    )


def _bound(row: Row, device: str) -> str:
    return f"{number(row[device], '.3g')}{' m' if row['memory_bound'][device] else ''}"


def _ratios(result: dict[str, Any], stage: str) -> dict[str, float | None]:
    """Speed now to that of the previous run, and the same divided by the ratio of the products' speeds."""
    before = result["previous"]
    if before is None or stage not in before["per_second"]:
        return {"ratio": None, "ratio_by_product": None}
    faster = result["stages"][stage]["per_second"] / before["per_second"][stage]
    return {
        "ratio": faster,
        "ratio_by_product": faster / (result["peak"]["flops"] / before["peak"]["flops"]),
    }


def _of_one(row: Row, name: str, unit: float) -> float | None:
    """Of one image or query."""
    return None if row[name] is None else row[name] * row["devices"] / row["items"] / unit


def _compared(before: Row | None) -> str:
    if before is None:
        return "The history holds no earlier run of these settings on such a device with this version of JAX."
    return (
        f"*To before* is the speed over that of latentfp {', '.join(before['code'])} on {before['date']}; "
        "*by product* divides it by the ratio of the two products' speeds, which shows what the machine "
        "itself did: where the two columns differ much, neither is to be trusted."
    )


def write_scaling(folder: Path, result: dict[str, Any]) -> Path:
    """Write scaling.md, the result of bench.scaling.run."""
    training, attribution = result["training"], result["attribution"]
    same = len({row["sha256"] for row in attribution}) == 1
    return write_page(
        folder / "scaling.md",
        result,
        f"# Scaling on {result['cores']} cores",
        "Every process has one core, by turns; the ideal is the speed of one process times the number of "
        "processes, and no more than the number of cores. Efficiency: share of the ideal.",
        f"## Training ({result['training_config']}, {result['batch']} images a step)",
        table(_scaled(training, result["cores"]), SCALING),
        f"The metrics after {result['steps']} steps differ from those of one process by at most "
        f"{_difference(training):.1e} of their value.",
        f"## Attribution (`latentfp bulk`, {result['files']} files)",
        table(_scaled(attribution, result["cores"]), SCALING),
        "Seconds count from the start of the command, with reading the deployment and the compiled programs. "
        f"The parts are {'the same, byte for byte' if same else 'NOT the same'}.",
    )


def _scaled(rows: Sequence[Row], cores: int) -> list[dict[str, Any]]:
    """With the speed in multiples of one process's and of the ideal."""
    alone = rows[0]["per_second"] / min(rows[0]["processes"], cores)
    ideal = [alone * min(row["processes"], cores) for row in rows]
    return [
        {**row, "times_one": row["per_second"] / alone, "efficiency": row["per_second"] / best}
        for row, best in zip(rows, ideal, strict=True)
    ]


def _difference(rows: Sequence[Row]) -> float:
    """The largest relative difference of a metric from that of the first row."""
    first = rows[0]["metrics"]
    return max(
        abs(row["metrics"][name] - value) / max(abs(value), 1e-12)
        for row in rows
        for name, value in first.items()
    )


def write_search(folder: Path, result: dict[str, Any]) -> Path:
    """Write search.md, the result of bench.search.run."""
    size, memory, rows = result["size"], result["memory"], result["sizes"]
    compiling = max(second for row in rows.values() for second in row["first_call_seconds"].values())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return write_page(
        folder / "search.md",
        result,
        "# Exact search among registered codes",
        f"{size['queries']} queries among random codes of {size['bits']} bits, the best {size['top']} of "
        "each: by Hamming distance (nearest), by soft scores in -24 … 24 (best), and by distance with "
        "IndexBinaryFlat of faiss, in its two ways to keep the best. The searches took turns; the best of "
        f"{size['repeats']} calls each. Ratios are to the faster way of faiss. All distances are "
        f"those of faiss, and rows and values of {size['checked']} queries those of NumPy.",
        table(({"codes": int(n), **row} for n, row in rows.items()), SEARCH),
        f"Memory beyond {memory['codes_mib']:.0f} MiB of {memory['n']:.0e} codes: "
        f"{memory['nearest_beyond_mib']:.0f} MiB for nearest and {memory['best_beyond_mib']:.0f} MiB for "
        f"both searches, one after the other. Compiling beforehand, the slowest call took {compiling:.1f} s.",
        plain(f"faiss: {result['faiss']}; {versions}."),
    )
