"""How fast every attack of every suite is, one image after the other, as studies apply them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from latentfp import rng
from latentfp.augment.attacks import Attack
from latentfp.augment.suites import suite
from latentfp.data.photographs import crop_photograph
from latentfp.runtime.progress import track


def run(*, size: int, images: int, suites: Sequence[str], seed: int, workdir: Path) -> dict[str, Any]:
    """Measure on `images` crops of photographs, `size` pixels a side, and write attack_speed.json."""
    random = np.random.default_rng(seed)
    pixels = np.stack([crop_photograph(random, size) for _ in range(images)])
    attacks = [(name, attack) for name in suites for attack in suite(name)]
    rows = [
        {"suite": name, "attack": attack.name, **measure(attack, pixels, seed=seed)}
        for name, attack in track(attacks, f"attacks on {size}x{size} pixels")
    ]
    result = {"size": size, "images": images, "rows": rows}
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "attack_speed.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def measure(attack: Attack, pixels: UInt8[np.ndarray, "n h w 3"], *, seed: int) -> dict[str, float]:
    """Images a second, seconds of the first call, and the mean change of a value in grey levels."""
    began = time.perf_counter()
    attack.apply(rng.stream(rng.root(seed), "first"), pixels[0])
    first = time.perf_counter() - began
    keys = [rng.stream(rng.root(seed), "attack", i) for i in range(len(pixels))]
    began = time.perf_counter()
    changed = np.stack([attack.apply(key, image) for key, image in zip(keys, pixels, strict=True)])
    seconds = time.perf_counter() - began
    return {
        "images_per_second": len(pixels) / seconds,
        "first_call_seconds": first,
        "mean_change_levels": float(np.abs(changed.astype(int) - pixels).mean()),
    }
