"""Files made to harm whoever reads them, or broken: each a path below a folder, by what is wrong with it."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from latent_diffusion_files import (
    CONFIGURATION,
    INDEX,
    UNET,
    VAE,
    draw_params,
    write_compvis,
    write_diffusers,
)
from safetensors.numpy import save_file
from torch_layout import Call, Name, Raw, State, dump, legacy, tensor, write_zip

W = np.arange(8, dtype=np.float32)
ANSWER = "Hostile"


class Attack:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def calls(marker: Path) -> dict[str, bytes]:
    """Pickles that would make the file `marker`."""
    command, python = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": pickle.dumps(Attack(os.system, command), 2),
        "os.system in protocol 4": pickle.dumps({"g_ema": Attack(os.system, command)}, 4),
        "posix.system": dump(Call("posix.system", (command,))),
        "eval": dump(Call("builtins.eval", (python,))),
        "exec": dump(Call("builtins.exec", (python,))),
        "import": dump(Call("builtins.__import__", ("antigravity",))),
        "getattr": dump(Call("builtins.getattr", (Name("os"), "system"))),
        "partial": dump(Call("functools.partial", (Name("os.system"), command))),
        "subprocess": dump(Call("subprocess.Popen", (["touch", str(marker)],))),
        "runpy": dump(Call("runpy.run_path", (str(marker),))),
        "pty": dump(Call("pty.spawn", (["touch", str(marker)],))),
        "torch.load": dump(Call("torch.load", (str(marker),))),
        "torch.hub": dump(Call("torch.hub.load", ("user/repository", "model"))),
        "numpy.load": dump(Call("numpy.load", (str(marker),))),
        "code object": dump(Call("types.CodeType", (0,))),
        "in a key": dump({Call("os.system", (command,)): 1}),
        "in a state": dump(State(Call("collections.OrderedDict"), {"a": Call("os.system", (command,))})),
        "new object": dump(Raw(b"csubprocess\nPopen\n(X\x04\x00\x00\x00truet\x81")),
        "old instructions": b"(ios\nsystem\n.",
        "source of a class": dump(
            Call(
                "torch_utils.persistence._reconstruct_persistent_obj",
                ({"type": "class", "module_src": python, "class_name": "Network", "state": {}},),
            )
        ),
    }


def pickles() -> dict[str, bytes]:
    """Pickles that would take memory, time or the stack."""
    return {
        "deep lists": dump(Raw(b"]" * 200_000 + b"a" * 199_999)),
        "deep tuples": dump(Raw(b")" + b"\x85" * 200_000)),
        "deep key": dump(Raw(b"}" + b")" + b"\x85" * 5_000 + b"K\x01s")),
        "doubling list": dump(Raw(b"]q\x00" + _doubled())),
        "doubling weights": dump(Raw(b"}X\x05\x00\x00\x00g_ema]q\x00" + _doubled() + b"s")),
        "list in itself": dump(Raw(b"]q\x00h\x00a")),
        "copied lists": dump(Raw(b"](" + b"K\x01K\x02\x86" * 1000 + b"eq\x000" + _copies())),
        "huge text": dump(Raw(b"\x8d" + (2**62).to_bytes(8, "little"))),
        "huge bytes": dump(Raw(b"B" + b"\xff\xff\xff\xff")),
        "huge number": dump(Raw(b"\x8b" + b"\xff\xff\xff\x7f")),
        "endless": dump(Raw(b"N0" * 3_000_000)),
        "extension": dump(Raw(b"\x82\x01")),
        "objects": dump(
            Call("numpy.core.multiarray.scalar", (Call("numpy.dtype", ("O8", False, True)), b"x"))
        ),
        "huge array": dump(
            State(
                Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (0,), b"b")),
                (1, (10**12,), Call("numpy.dtype", ("f8", False, True)), False, b"12345678"),
            )
        ),
        "no end": b"\x80\x02K\x01",
        "empty stack": b"\x80\x02.",
    }


def _doubled() -> bytes:
    """Sixty lists, each twice in the next."""
    return b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))


def _copies() -> bytes:
    return b"ccollections\nOrderedDict\nq\x010" + b"h\x01h\x00\x85R0" * 1500 + b"N"


def tensors() -> dict[str, Call]:
    """Tensors that do not fit their storage."""
    return {
        "beyond its storage": tensor("0", W, shape=(9,)),
        "negative offset": tensor("0", W, offset=-1, shape=(1,)),
        "negative stride": tensor("0", W, shape=(2,), strides=(-1,)),
        "repeats without end": tensor("0", W, shape=(10**12,), strides=(0,)),
        "huge storage": tensor("0", W, shape=(1,), count=2**60),
        "too many axes": tensor("0", W, shape=(1,) * 60),
        "no storage": tensor("5", W),
        "a table as storage": _rebuilt(shape=(8,), storage=_table()),
        "doubled tuples as shape": _rebuilt(shape=_doubled_tuples()),
        "doubled tuples as offset": _rebuilt(offset=_doubled_tuples()),
        "a long number as shape": _rebuilt(
            shape=(Raw(b"\x8b" + (2000).to_bytes(4, "little") + b"\x7f" * 2000),)
        ),
    }


def _rebuilt(*, shape: object = (1,), offset: object = 0, storage: object = None) -> Call:
    """A tensor of which one part is something else."""
    given = tensor("0", W).arguments
    strides = (1,) if isinstance(shape, tuple) else ()
    return Call("torch._utils._rebuild_tensor_v2", (storage or given[0], offset, shape, strides, *given[4:]))


def _table() -> State:
    """A NumPy array of one row: eight elements with a first stride of all of them, so that steps leave it."""
    empty = Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (0,), b"b"))
    return State(empty, (1, (1, 8), Call("numpy.dtype", ("f4", False, True)), False, W.tobytes()))


def _doubled_tuples() -> Raw:
    """Sixty pairs, each twice in the next: 2^60 when written out."""
    return Raw(b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(60)))


def headers() -> dict[str, bytes]:
    """Files of safetensors by their bytes."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

    def file(header: bytes, data: bytes = b"12345678", length: int | None = None) -> bytes:
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    def one(**changed: object) -> bytes:
        return file(json.dumps({"w": {**entry, **changed}}).encode())

    return {
        "huge header": file(b"{}", length=2**62),
        "long header": file(b"{}", length=99_000_000),
        "deep header": file(b'{"a":' * 100_000),
        "no header": file(b"{]"),
        "a list as header": file(b"{1,2}"),
        "huge shape": one(shape=[2**40, 2**40]),
        "negative shape": one(shape=[-2]),
        "fractional shape": one(shape=[2.5]),
        "offset beyond": one(data_offsets=[8, 16]),
        "negative offset of data": one(data_offsets=[-8, 0]),
        "other range": one(data_offsets=[0, 4]),
        "unknown type": one(dtype="F4"),
        "no offsets": file(b'{"w":{"dtype":"F32","shape":[2]}}'),
    }


def configurations() -> dict[str, str]:
    """YAML files by their text."""
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 30)
    )
    return {
        "aliases": bomb,
        "python object": "model: !!python/object/apply:os.system ['true']\n",
        "deep": "[" * 10_000,
        "huge": "a: " + "x" * 10_000_000,
        "no mapping": "- 1\n- 2\n",
        "no YAML": "a: [1, 2\nb: }",
        "control characters": "a: \x00\x01",
    }


def write_all(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Every file or folder, written below `folder`."""
    yield from _single(folder, marker)
    params = draw_params()
    for name, text in configurations().items():
        path = write_compvis(folder / f"yaml {name}", params)
        (path.parent / "config.yaml").write_text(text)
        yield f"yaml: {name}", path
    broken = dict(params, denoiser={**params["denoiser"]})
    for name, value in (("not a number", np.nan), ("infinite", np.inf)):
        bias = np.full_like(params["denoiser"]["conv_in"]["bias"], value)
        broken["denoiser"]["conv_in"] = {**params["denoiser"]["conv_in"], "bias": bias}
        yield f"weights: {name}", write_compvis(folder / f"weights {name}", broken)
    yield from _folders(folder, params)


def _single(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    for name, data in {**calls(marker), **pickles()}.items():
        for ending, content in (("pkl", data), ("pt", legacy(data, {}))):
            path = folder / f"{name}.{ending}"
            path.write_bytes(content)
            yield f"{ending}: {name}", path
        yield f"zip: {name}", write_zip(folder / f"{name} in zip.pt", data, {})
    for name, one in tensors().items():
        yield f"tensor: {name}", write_zip(folder / f"{name}.pt", {"g_ema": one}, {"0": W})
    for name, data in headers().items():
        path = folder / f"{name}.safetensors"
        path.write_bytes(data)
        yield f"safetensors: {name}", path
    good = write_zip(folder / "good.pt", {"g_ema": {"w": tensor("0", W)}}, {"0": W}).read_bytes()
    others = {
        "empty": b"",
        "text": b"weights",
        "image": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "truncated zip": good[: len(good) // 2],
        "flipped bits": good.replace(W.tobytes(), W[::-1].tobytes()),
        "zip without end": good[:-22],
    }
    for name, data in others.items():
        path = folder / f"{name}.bin"
        path.write_bytes(data)
        yield f"file: {name}", path
    yield "zip: compressed", write_zip(
        folder / "bomb.pt", {"g_ema": tensor("0", np.zeros(10**7, "f4"))}, {"0": np.zeros(10**7, "f4")},
        compression=zipfile.ZIP_DEFLATED,
    )  # fmt: skip


def _folders(folder: Path, params) -> Iterator[tuple[str, Path]]:
    for name, changed in {
        "huge network": {"unet": {**UNET, "block_out_channels": [2**40, 2**40]}},
        "many levels": {"unet": {**UNET, "block_out_channels": [32] * 10_000}},
        "huge image": {"unet": {**UNET, "sample_size": 2**50}},
        "huge code book": {"vae": {**VAE, "num_vq_embeddings": 2**70}},
        "negative width": {"vae": {**VAE, "block_out_channels": [-32, 64]}},
        "text denoiser alone": {"index": {"unet": ["diffusers", "UNet2DConditionModel"]}},
        "own code": {"index": {**INDEX, "unet": ["pipeline", "Evil"]}},
    }.items():
        yield f"folder: {name}", write_diffusers(folder / name, params, **changed)
    for name, text in (
        ("deep json", "[" * 60_000),
        ("deep setting", '{"act_fn": ' + "[" * 900 + "]" * 900 + "}"),
        ("no json", "{"),
        ("large json", " " * 10_000_000 + "{}"),
    ):
        path = write_diffusers(folder / name, params)
        (path / "unet" / "config.json").write_text(text)
        yield f"folder: {name}", path
    path = write_diffusers(folder / "integers", params)
    save_file({"conv_in.weight": np.ones(3, np.int32)}, path / "unet" / "diffusion_pytorch_model.safetensors")
    yield "folder: integers", path
    path = write_diffusers(folder / "path outside", params)
    index = {**INDEX, "vqvae": ["diffusers", "VQModel"], "unet": ["../../..", "UNet2DModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    (path / "unet" / "config.json").unlink()
    yield "folder: path outside", path


assert CONFIGURATION  # written by write_compvis
