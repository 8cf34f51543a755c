"""A small demonstration on disk, with every kind of verdict in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentfp.studies.demo import Accuracy, File, Negatives, Record, Settings

BITS = 16
CODES = {"alice": "1100101001101010", "<script>alert(1)</script>": "0011010110010101"}


def confidence(code: str, wrong: int) -> list[float]:
    """Sure of every bit of `code`, and as sure of the opposite of the first `wrong`."""
    return [0.95 if (bit == "1") != (i < wrong) else 0.05 for i, bit in enumerate(code)]


def entry(user: str | None, file: str, **changes: Any) -> dict[str, Any]:
    code = CODES[user] if user else "01" * (BITS // 2)
    return {
        "file": file,
        "user": user,
        "source": user or "unmarked",
        "attack": "none",
        "plain": None,
        "clean": None,
        "verdict": "user" if user else "none",
        "named": user,
        "matched_bits": BITS if user else 9,
        "bits": BITS,
        "p_value": 3.05e-05 if user else 0.64,
        "status": "ok",
        "seconds": 0.5,
        "correct": True,
        "wrong_bits": 0 if user else None,
        "confidence": confidence(code, 0),
        "psnr": None,
        **changes,
    }


def record() -> dict[str, Any]:
    hostile = list(CODES)[1]
    first = {"plain": "plain/1.png", "clean": "images/1.png"}
    second = {"plain": "plain/2.png", "clean": "images/2.png"}
    unseen = {"matched_bits": None, "p_value": None, "confidence": None, "wrong_bits": None, "correct": False}
    three = confidence(CODES["alice"], 3)
    return {
        "title": 'A "demonstration" & more',
        "created": "2026-01-02T03:04:05",
        "command": "latentfp demo --out <here>",
        "versions": {"jax": "0.10"},
        "hardware": "2 cores",
        "settings": {
            "generator": "avatars",
            "sha256": "ab" * 32,
            "size": 8,
            "sigma": 0.5,
            "shift": 4,
            "bits": BITS,
            "coding": "antipodal",
            "min_distance": 4,
            "users": 2,
            "images": 1,
            "stages": "decoder 3",
            "alpha": 1e-4,
            "seed": 3,
        },
        "seconds": {"fit": 1.0, "generate": 2.0, "attack": 0.5, "attribute": 125.0},
        "stds": [2.0 * 0.8**i for i in range(24)],
        "users": dict(CODES),
        "files": [
            entry("alice", "images/1.png", psnr=30.25, **first),
            entry(
                "alice",
                "attacked/1.png",
                attack="blur",
                verdict="none",
                named=None,
                correct=False,
                matched_bits=13,
                p_value=0.021,
                wrong_bits=3,
                **first | {"confidence": three},
            ),
            entry(
                "alice",
                "attacked/broken.png",
                attack="jpeg",
                verdict="unreadable",
                named=None,
                **first | unseen,
            ),
            entry(hostile, "images/2.png", psnr=32.0, **second),
            entry(hostile, "attacked/2.png", attack="blur", named="alice", correct=False, **second),
            entry(None, "negatives/1.png"),
            entry(None, "negatives/2.png", source='style "x"', verdict="user", named=hostile, correct=False),
        ],
        "accuracy": [
            {
                "attack": "none",
                "files": 2,
                "correct": 2,
                "all_bits": 2,
                "bit_accuracy": 1.0,
                "interval": [0.16, 1.0],
            },
            {
                "attack": "blur",
                "files": 2,
                "correct": 0,
                "all_bits": 1,
                "bit_accuracy": 0.9,
                "interval": [0.0, 0.84],
            },
            {
                "attack": "jpeg",
                "files": 1,
                "correct": 0,
                "all_bits": 0,
                "bit_accuracy": 0.0,
                "interval": [0.0, 0.975],
            },
        ],
        "negatives": [
            {"source": "unmarked", "files": 1, "accused": 0},
            {"source": 'style "x"', "files": 1, "accused": 1},
        ],
    }


@pytest.fixture
def content() -> dict[str, Any]:
    """The fields of a record, free to be changed."""
    return record()


def made(content: dict[str, Any]) -> Record:
    """The record with these fields."""
    kinds = {"files": File, "accuracy": Accuracy, "negatives": Negatives}
    rows = {name: [kind(**row) for row in content[name]] for name, kind in kinds.items()}
    return Record(**{**content, **rows, "settings": Settings(**content["settings"])})


@pytest.fixture
def demo(tmp_path: Path) -> Callable[[dict[str, Any]], tuple[Path, Record]]:
    """Writes random images for all files that a record names but the broken one: folder and record."""

    def write(content: dict[str, Any]) -> tuple[Path, Record]:
        random = np.random.default_rng(7)
        named = {file[role] for file in content["files"] for role in ("file", "plain", "clean")} - {None}
        for name in sorted(named):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        if "attacked/broken.png" in named:
            (tmp_path / "attacked/broken.png").write_bytes(b"no image")
        return tmp_path, made(content)

    return write
