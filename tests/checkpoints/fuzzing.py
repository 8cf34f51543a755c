"""Fuzzing of what reads strangers' files: images, checkpoints, records of cases, tables of users.

    PYTHONPATH=. python tests/checkpoints/fuzzing.py --seconds 3600 [KIND …]

What fails is written to ./fuzz-failures.

Seeds are small valid files of every format. An input is a seed that was changed a few times: bits, bytes that
mean something, numbers at their limits, blocks that are repeated, left out or taken from another seed; a
pickle is changed before it is put into its archive, so that the checksum is right. A reader may answer, or
raise ValueError or OSError with one printable line. Anything else, a line of more than 2000 characters, more
than SECONDS, or growth by more than MEBIBYTES, is a failure.
"""

import argparse
import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch_layout import Call, Name, State, dump, legacy, tensor

from latentfp.checkpoints import formats
from latentfp.data.files import read_image
from latentfp.deployment.manifest import read_manifest
from latentfp.deployment.tables import read_table
from latentfp.report import check

SECONDS, MEBIBYTES, LONGEST = 10.0, 1024, 2000
WEIGHTS = np.arange(8, dtype=np.float32)
EXTREMES = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
TOKENS = [
    b"\0",
    b"\xff",
    b"-1",
    b"NaN",
    b"1e999",
    b"[",
    b"{",
    b'"',
    b"\n",
    b"\x1b[2J",
    b"\x80\x02",
    b"\x8b",
    b"\x85",
]


class Kind(NamedTuple):
    """Seeds, the name of their files, and what reads one."""

    seeds: Callable[[], Iterator[bytes]]
    suffix: str
    read: Callable[[Path], object]


class Outcome(NamedTuple):
    """What became of the inputs of a kind. `failures`: of each what was wrong, and the input."""

    executions: int
    answered: int
    seconds: float
    peak: float
    failures: list[tuple[str, bytes]]


def images() -> Iterator[bytes]:
    """Small pictures in every format that is read, with colours, alpha, palettes, profiles and comments."""
    pixels = np.random.default_rng(1).integers(256, size=(9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    modes = {"PNG": ("RGB", "RGBA", "P", "L", "1"), "JPEG": ("RGB", "L", "CMYK"), "WEBP": ("RGB", "RGBA")}
    rest = {"BMP": ("RGB", "P"), "TIFF": ("RGB", "L"), "GIF": ("P",), "PPM": ("RGB", "L")}
    for form, kinds in {**modes, **rest}.items():
        for mode in kinds:
            file = io.BytesIO()
            picture.convert(mode).save(file, form)
            yield file.getvalue()
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif, comment=b"c" * 50)
    yield file.getvalue()


def pickles() -> Iterator[bytes]:
    """Of trees of tensors, as programs write them."""
    hooks = {"g_ema": {"a.weight": tensor("0", WEIGHTS), "b": tensor("0", WEIGHTS, shape=(2, 2), offset=1)}}
    yield dump(hooks)
    yield dump({"state_dict": hooks["g_ema"], "epoch": 3, "lr": 1e-3, "names": ["a", ("b", None)]})
    empty = Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (0,), b"b"))
    array = State(empty, (1, (2, 4), Call("numpy.dtype", ("f4", False, True)), False, WEIGHTS.tobytes()))
    yield dump({"g_ema": Call("collections.OrderedDict"), "array": array, "big": 2**60})


def archives() -> Iterator[bytes]:
    """Pickles that `zipped` puts into an archive, and older files."""
    yield from pickles()


def older() -> Iterator[bytes]:
    """Files of PyTorch's older format, pickles of NVIDIA, and safetensors."""
    for one in pickles():
        yield legacy(one, {"0": WEIGHTS})
        yield one
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}).encode()
    yield struct.pack("<Q", len(header)) + header + WEIGHTS.tobytes()


def zipped(path: Path) -> object:
    """Read the bytes at a path as the pickle of an archive."""
    target = path.with_suffix(".pt")
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", path.read_bytes())
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", WEIGHTS.tobytes())
    return formats.read(target, formats.recognise(target))


def records() -> Iterator[bytes]:
    """A record of a case that is nearly whole, whatever it says."""
    evidence = {"ratios": [4, -4], "scores": [8], "bound": 8, "users": 2, "factor": 1.0, "dependent": False}
    opening = {
        "deployment": "ab",
        "number": 1,
        "name": "a",
        "code": "80" + "00" * 7,
        "salt": "00",
        "path": [],
    }
    entry = {
        **{"file": "a.png", "sha256": "ab", "verdict": "user", "user": "a", "status": "ok", "bits": 2},
        **{"matched_bits": 2, "p_value": 0.4, "miss_p_value": 0.5, "membership": None, "case_p_value": None},
        **{"ranked": [{"user": "a", "matched_bits": 2, "log_likelihood": -1.0}], "code_origin": "drawn"},
        **{"log10_lr": 0.0, "support": "no support either way"},
        "evidence": {**evidence, "temper": 1.0, "clears_below": 1e-3},
        "opening": {**opening, "first": 1, "count": 1, "commitment": "00"},
    }
    yield json.dumps(
        {
            "case": {"format": check.FORMAT, "request": {"alpha": 0.5, "case": False, "committed": False}},
            "judgement": {"users": 2, "factor": 1.0, "dependent": False, "cleared": 1e-3},
            "deployment": {"id": "ab", "users": 2, "code_book": {"repeats": 1}},
            "files": [entry],
            "page": {"name": "case.html", "sha256": "ab"},
            "signer": {"algorithm": "Ed25519", "public_key": "ab" * 32},
            "signature": "ab" * 64,
        }
    ).encode()


def users() -> Iterator[bytes]:
    """Tables of users, as programs and spreadsheets write them."""
    yield b"name,note,code\nalice,first,0011223344556677\nbob,,8899aabbccddeeff\n"
    yield 'name;note\n"a ""b""";x\n'.encode("utf-16")


def manifests() -> Iterator[bytes]:
    """A manifest with every field."""
    facts = {
        "versions": {"jax": "0", "latentfp": "0", "numpy": "0"},
        "generator": {"name": "a", "identity": "b"},
    }
    numbers = {"format": 5, "sigma": 1.0, "shift": 0, "bits": 8, "min_distance": 2, "repeats": 1}
    texts = {"id": "ab", "created": "", "coding": "antipodal", "layout": "joint", "rotation": "", "axes": ""}
    codes = {"codes": {"kind": "random", "message": 0, "polynomial": ""}, "parts": {"basis.safetensors": ""}}
    yield json.dumps({**facts, **numbers, **texts, **codes, "digest": ""}).encode()


KINDS = {
    "images": Kind(images, ".png", lambda path: read_image(path, size=None)),
    "sized images": Kind(images, ".png", lambda path: read_image(path, size=(9, 7))),
    "archives": Kind(archives, ".bin", zipped),
    "checkpoints": Kind(older, ".pt", lambda path: formats.read(path, formats.recognise(path))),
    "records": Kind(records, ".json", check.check),
    "tables": Kind(users, ".csv", read_table),
    "manifests": Kind(manifests, ".json", read_manifest),
}


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A seed, changed one to eight times."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randrange(len(data) + 1), chance.choice([1, 2, 4, 8, 16, 64])
        chance.choice(CHANGES)(chance, data, at, length, seeds)
        data = data or bytearray(b"\0")
    return bytes(data)


Seeds = list[bytes]


def _flip(chance: random.Random, data: bytearray, at: int, _length: int, _seeds: Seeds) -> None:
    data[at % len(data)] ^= 1 << chance.randrange(8)


def _byte(chance: random.Random, data: bytearray, at: int, _length: int, _seeds: Seeds) -> None:
    data[at % len(data)] = chance.choice(EXTREMES) & 255


def _number(chance: random.Random, data: bytearray, at: int, _length: int, _seeds: Seeds) -> None:
    code = chance.choice("<>") + chance.choice("HIQ")
    piece = struct.pack(code, chance.choice(EXTREMES) % 2 ** (8 * struct.calcsize(code)))
    data[at : at + len(piece)] = piece


def _cut(_chance: random.Random, data: bytearray, at: int, length: int, _seeds: Seeds) -> None:
    del data[at : at + length]


def _repeat(chance: random.Random, data: bytearray, at: int, length: int, _seeds: Seeds) -> None:
    data[at:at] = data[at : at + length] * chance.choice([1, 2, 50])


def _token(chance: random.Random, data: bytearray, at: int, _length: int, _seeds: Seeds) -> None:
    data[at : at + chance.choice([0, 1])] = chance.choice(TOKENS)


def _splice(chance: random.Random, data: bytearray, at: int, length: int, seeds: Seeds) -> None:
    other = chance.choice(seeds)
    start = chance.randrange(len(other))
    data[at : at + length] = other[start : start + length]


def _end(_chance: random.Random, data: bytearray, at: int, _length: int, _seeds: Seeds) -> None:
    del data[max(1, at) :]


CHANGES = (_flip, _byte, _number, _cut, _repeat, _token, _splice, _end)


def fuzz(kind: Kind, *, seconds: float, seed: int, folder: Path) -> Outcome:
    """Read changed seeds for so long."""
    chance, seeds = random.Random(seed), list(kind.seeds())
    path, failures, executions, answered = folder / f"input{kind.suffix}", [], 0, 0
    began, start = time.perf_counter(), _peak()
    while time.perf_counter() - began < seconds:
        data = seeds[executions] if executions < len(seeds) else mutated(chance, seeds)
        path.write_bytes(data)
        fault, took = attempt(kind, path)
        executions += 1
        answered += fault is None
        wrong = fault if fault and fault.startswith("!") else None
        if took > SECONDS:
            wrong = f"!{took:.0f} s"
        if wrong:
            failures.append((wrong[1:], data))
    return Outcome(executions, answered, time.perf_counter() - began, _peak() - start, failures)


def attempt(kind: Kind, path: Path) -> tuple[str | None, float]:
    """What reading says, with a mark where that must not happen, and how long it took."""
    began, fault = time.perf_counter(), None
    try:
        kind.read(path)
    except (ValueError, OSError) as error:
        fault = str(error)
        if not fault.isprintable() or len(fault) > LONGEST:
            fault = f"!a message of {len(fault)} characters: {ascii(fault)[:200]}"
    except Exception as error:  # noqa: BLE001  what is looked for
        fault = f"!{type(error).__name__}: {ascii(str(error))[:200]}"
    return fault, time.perf_counter() - began


def _peak() -> float:
    """Of this process, in mebibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Fuzz for the time that is asked, tell, and keep what failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all if left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen, failed = given.kinds or list(KINDS), 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            found = fuzz(
                KINDS[name], seconds=given.seconds / len(chosen), seed=given.seed, folder=Path(folder)
            )
        rate = found.executions / found.seconds
        told = f"{name}: {found.executions} inputs, {rate:.0f} a second, {found.answered} answered"
        sys.stdout.write(f"{told}, {found.peak:.0f} MiB more, {len(found.failures)} failures\n")
        for number, (wrong, data) in enumerate(found.failures[:20]):
            place = Path("fuzz-failures") / f"{name.replace(' ', '-')}-{number}{KINDS[name].suffix}"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
            sys.stdout.write(f"  {place}: {wrong}\n")
        failed += len(found.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
