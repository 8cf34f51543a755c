"""Search over random codes: seconds of the exact search beside those of faiss on the same codes, and memory.

A figure is the best of several calls, since other work on the machine can only slow a call down. The searches
take turns, so that such work meets all of them alike. Half of the queries are registered codes with wrong
bits, the others are random.

Every answer is checked: all distances against those of faiss, and rows and values of some queries against
plain NumPy over the whole book.
"""

import importlib
import importlib.metadata
import json
import multiprocessing
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int8, UInt8

from latentfp.attribution.search import Hits, best, nearest
from latentfp.fingerprint.codes import pack
from latentfp.runtime.progress import track
from latentfp.runtime.provenance import code_version, hardware, peak_memory
from latentfp.studies.experiment import Experiment, Numbers

WRONG = 0.1  # chance of a wrong bit in a query that is a registered code
LARGEST = 24  # magnitude of a soft score
CHUNK = 2**20  # codes that are drawn, given to faiss and checked at once
PACKAGES = ("jax", "jaxlib", "numpy", "faiss-cpu")

Searches = dict[str, Callable[[], Hits]]


class BookSize(NamedTuple):
    """A random book of `n` codes with its queries. `bits`: of a code, a multiple of 64."""

    n: int
    bits: int
    queries: int
    top: int
    seed: int


class Drawn(NamedTuple):
    """What is searched: packed codes, and packed queries with their soft scores in -24 … 24."""

    book: UInt8[np.ndarray, "n bytes"]
    asked: UInt8[np.ndarray, "q bytes"]
    scores: Int8[np.ndarray, "q k"]


def run(
    *,
    sizes: Sequence[int],
    bits: int,
    queries: int,
    top: int,
    repeats: int,
    checked: int,
    seed: int,
    workdir: Path,
) -> dict[str, Any]:
    """Measure books of these sizes and write search.json; a killed run goes on after its last complete size.

    `repeats`: timed calls of every search, after one that compiles. `checked`: queries compared with NumPy.
    ValueError for codes that are no whole words, RuntimeError where an answer is wrong, ModuleNotFoundError
    without faiss.
    """
    if bits % 64 or bits < 64 or not 1 <= top <= min(sizes):
        raise ValueError(
            f"got {bits} bits and the best {top} of {min(sizes)} codes, expected a multiple of 64 bits and a "
            "`top` from 1 to the smallest size: change config.study"
        )
    faiss = _faiss()
    workdir.mkdir(parents=True, exist_ok=True)
    measured = Experiment(workdir, seed=seed).measured
    books = [BookSize(n, bits, queries, top, seed) for n in sizes]
    (memory,) = measured([max(books)], _in_another_process, belongs={"measured": "memory"})
    timing = {"measured": "time", "repeats": repeats, "checked": checked}
    timed = measured(books, lambda size: time_searches(size, repeats, checked), belongs=timing)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    result = {
        "size": {"bits": bits, "queries": queries, "top": top, "repeats": repeats, "checked": checked},
        "hardware": hardware(),
        "code": [code_version()],
        "faiss": f"{faiss.omp_get_max_threads()} threads, {faiss.get_compile_options().strip()}",
        "versions": versions | {"python": platform.python_version()},
        "memory": memory,
        "sizes": {str(size.n): row for size, row in zip(books, timed, strict=True)},
    }
    (workdir / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def draw(size: BookSize) -> Drawn:
    """The random book and its queries; the same for the same size."""
    random = np.random.default_rng([size.seed, size.n])
    book = np.empty((size.n, size.bits // 8), np.uint8)
    for first in range(0, size.n, CHUNK):
        some = book[first : first + CHUNK]
        some[:] = np.frombuffer(random.bytes(some.size), np.uint8).reshape(some.shape)
    marked = book[random.integers(size.n, size=(size.queries + 1) // 2)]
    wrong = random.random((len(marked), size.bits)) < WRONG
    others = random.random((size.queries - len(marked), size.bits)) < 0.5
    read = np.concatenate([np.unpackbits(marked, axis=1).astype(bool) ^ wrong, others])
    magnitudes = random.integers(LARGEST + 1, size=read.shape)
    return Drawn(book, pack(read), np.where(read, magnitudes, -magnitudes).astype(np.int8))


def time_searches(size: BookSize, repeats: int, checked: int) -> Numbers:
    """Seconds of every search, and of the first call of ours. RuntimeError for a wrong answer."""
    drawn = draw(size)
    ours: Searches = {
        "nearest": lambda: nearest(drawn.asked, drawn.book, top=size.top),
        "best": lambda: best(drawn.scores, drawn.book, top=size.top),
    }
    first = {name: _timed(search)[0] for name, search in ours.items()}
    answers, seconds = _in_turns({**ours, **_faiss_searches(drawn, size)}, repeats)
    _check(drawn, answers, checked)
    theirs = min(seconds["faiss heap"], seconds["faiss counting"])
    return {
        "first_call_seconds": first,
        "best_seconds": seconds,
        "faiss / nearest": theirs / seconds["nearest"],
        "faiss / best": theirs / seconds["best"],
    }


def _in_turns(searches: Searches, repeats: int) -> tuple[dict[str, Hits], dict[str, float]]:
    """What every search finds, and the least of its seconds."""
    rounds = [{name: _timed(search) for name, search in searches.items()} for _ in range(repeats)]
    least = {name: min(times[name][0] for times in rounds) for name in searches}
    return {name: hits for name, (_, hits) in rounds[-1].items()}, least


def _timed(search: Callable[[], Hits]) -> tuple[float, Hits]:
    began = time.perf_counter()
    hits = search()
    return time.perf_counter() - began, hits


def search_memory(size: BookSize) -> Numbers:
    """MiB that a process held with the codes, and the most that it held more in each search."""
    drawn = draw(size)
    codes = peak_memory()
    nearest(drawn.asked, drawn.book, top=size.top)
    after = peak_memory()
    best(drawn.scores, drawn.book, top=size.top)
    return {
        "n": size.n,
        "codes_mib": drawn.book.nbytes / 2**20,
        "process_with_codes_mib": codes,
        "nearest_beyond_mib": after - codes,
        "best_beyond_mib": peak_memory() - codes,
    }


def _in_another_process(size: BookSize) -> Numbers:
    """The peak of a process never falls, so this needs one that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(search_memory, size).result()


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "faiss is not installed, with which this bench compares: pip install faiss-cpu"
        ) from error


def _faiss_searches(drawn: Drawn, size: BookSize) -> Searches:
    """Both ways in which IndexBinaryFlat keeps the best: a heap, its default, and counts of distances."""
    index = _faiss().IndexBinaryFlat(size.bits)
    for first in range(0, size.n, CHUNK):
        index.add(drawn.book[first : first + CHUNK])

    def search(heap: bool) -> Hits:
        index.use_heap = heap
        distances, rows = index.search(drawn.asked, size.top)
        return Hits(rows, distances)

    return {"faiss heap": lambda: search(True), "faiss counting": lambda: search(False)}


def _check(drawn: Drawn, answers: dict[str, Hits], checked: int) -> None:
    """RuntimeError unless distances are those of faiss, and rows and values of `checked` queries NumPy's."""
    for name in ("faiss heap", "faiss counting"):
        if not np.array_equal(answers["nearest"].values, answers[name].values):
            raise RuntimeError(f"the least distances to {len(drawn.book)} codes differ from those of {name}")
    signs = 2 * np.unpackbits(drawn.asked, axis=1).astype(np.int8) - 1
    bits, top = signs.shape[1], answers["best"].rows.shape[1]
    some = np.linspace(0, len(signs) - 1, min(checked, len(signs))).astype(int)
    for query in track(some.tolist(), "queries checked"):
        near, agreement = plain_best(signs[query], drawn.book, top)
        expected = {
            "nearest": (near, (bits - agreement) // 2),
            "best": plain_best(drawn.scores[query], drawn.book, top),
        }
        for name, theirs in expected.items():
            ours = [array[query].tolist() for array in answers[name]]
            rows, values = (array.tolist() for array in theirs)
            if ours != [rows, values]:
                raise RuntimeError(
                    f"{name} of query {query}: found rows {ours[0]} with {ours[1]}, NumPy finds {rows} with "
                    f"{values}"
                )


def plain_best(
    scores: Int8[np.ndarray, " k"], book: UInt8[np.ndarray, "n bytes"], top: int
) -> tuple[Int[np.ndarray, " top"], Int[np.ndarray, " top"]]:
    """Rows and scores of the best for one query, summed byte by byte; ties to the lower row."""
    signs = 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(int) - 1
    tables = scores.astype(int).reshape(-1, 8) @ signs.T
    rows, values = np.zeros(0, int), np.zeros(0, int)
    for first in range(0, len(book), CHUNK):
        chunk = book[first : first + CHUNK]
        sums = np.zeros(len(chunk), int)
        for table, octets in zip(tables, chunk.T, strict=True):
            sums += table[octets]
        least = np.partition(sums, -top)[-top] if len(sums) > top else sums.min()
        near = np.flatnonzero(sums >= least)
        rows, values = np.append(rows, first + near), np.append(values, sums[near])
        order = np.lexsort((rows, -values))[:top]
        rows, values = rows[order], values[order]
    return rows, values
