"""Speed of decoding an algebraic code: how many readings a second find their user among all messages.

Users are drawn from all 2^message; of each word a number of bits is read wrongly, all equally surely, which
is the hardest case: nothing tells the wrong ones from the right. `soft` instead adds normal noise to words
of ±1, so that the wrong bits tend to be the unsure ones. A figure is the best of several calls, and the
first call, which compiles, is timed apart.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int8

from latentfp.attribution.list_decoding import decode
from latentfp.fingerprint.bch import Bch, Messages, construct, encode
from latentfp.runtime.progress import track

SURE = 8  # magnitude of a soft bit
LARGEST = 24
CALLS = 3


def run(
    *, bits: int, message: int, readings: int, wrong: Sequence[int], noise: float, seed: int, workdir: Path
) -> dict[str, Any]:
    """Measure every number of `wrong` bits, and noise of a standard deviation; write decoding.json."""
    code, random = construct(bits, message), np.random.default_rng(seed)
    messages = random.integers(2**message, size=readings, dtype=np.uint64)
    sign = 2 * encode(code, messages).astype(int) - 1
    shown = {f"{n} wrong": (SURE * _flipped(sign, n, random)).astype(np.int8) for n in wrong}
    shown["soft"] = _noisy(sign, noise, random)
    rows = {
        name: measure(code, soft, messages) for name, soft in track(shown.items(), "decoding", len(shown))
    }
    facts = {"bits": bits, "message": message, "distance": code.distance, "readings": readings}
    unsure = float(((shown["soft"] > 0) != (sign > 0)).sum(axis=1).mean())
    noisy = {"noise": noise, "wrong_bits_of_soft": unsure}
    result = {**facts, **noisy, "backend": jax.default_backend(), "rows": rows}
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "decoding.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(code: Bch, soft: Int8[np.ndarray, "n bits"], messages: Messages) -> dict[str, float]:
    """Readings a second, the share that finds its message, and the seconds of the first call."""
    times, right = [], 0.0
    for _ in range(1 + CALLS):
        began = time.perf_counter()
        found = decode(code, soft)
        times.append(time.perf_counter() - began)
        right = float((found.messages[:, 0] == messages).mean())
    return {
        "readings_per_second": len(soft) / min(times[1:]),
        "right": right,
        "first_call_seconds": times[0],
    }


def _flipped(sign: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """With `n` signs of every row turned."""
    turned = sign.copy()
    places = np.argsort(random.random(sign.shape), axis=1)[:, :n]
    np.put_along_axis(turned, places, -np.take_along_axis(sign, places, axis=1), axis=1)
    return turned


def _noisy(sign: np.ndarray, noise: float, random: np.random.Generator) -> Int8[np.ndarray, "n bits"]:
    ratios = SURE * (sign + noise * random.standard_normal(sign.shape))
    return np.clip(np.round(ratios), -LARGEST, LARGEST).astype(np.int8)
