"""The bench of the search among codes as a table."""

from pathlib import Path
from typing import Any

from latentfp.report.markdown import made_with, number, plain, table, thousands

COMMAND = "python -m latentfp.main --config=configs/bench/search.py --workdir=DIR"
SEARCHES = {
    "nearest, s": "nearest",
    "best, s": "best",
    "faiss, heap, s": "faiss heap",
    "faiss, counting, s": "faiss counting",
}
RATIOS = ("faiss / nearest", "faiss / best")


def write_search(folder: Path, result: dict[str, Any]) -> Path:
    """Write search.md, the result of bench.search.run."""
    task, memory, rows = result["task"], result["memory"], result["sizes"]
    columns = {"codes": [thousands(int(n)) for n in rows]}
    for title, name in SEARCHES.items():
        columns[title] = [number(row["seconds"][name], ".3g") for row in rows.values()]
    for name in RATIOS:
        columns[name] = [number(row[name], ".1f") for row in rows.values()]
    compiling = max(second for row in rows.values() for second in row["first_call_seconds"].values())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    page = [
        "# Exact search among registered codes",
        f"{task['queries']} queries among random codes of {task['bits']} bits, the best {task['top']} of "
        "each: by Hamming distance (nearest), by soft scores in -24 … 24 (best), and by distance with "
        "IndexBinaryFlat of faiss, in its two ways to keep the best. The searches took turns; the best of "
        f"{task['repeats']} calls each. Ratios are to the faster way of faiss. All distances are "
        f"those of faiss, and rows and values of {task['checked']} queries those of NumPy.",
        table(columns),
        f"Memory beyond {memory['codes_mib']:.0f} MiB of {memory['n']:.0e} codes: "
        f"{memory['nearest_beyond_mib']:.0f} MiB for nearest and {memory['best_beyond_mib']:.0f} MiB for "
        f"both searches, one after the other. Compiling beforehand, the slowest call took {compiling:.1f} s.",
        plain(f"{result['hardware']}; faiss: {result['faiss']}; {versions}."),
        made_with(COMMAND),
    ]
    path = folder / "search.md"
    path.write_text("\n\n".join(page) + "\n")
    return path
