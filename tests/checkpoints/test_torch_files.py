"""Torch and safetensors files written by hand: every layout of a tensor, and every kind of damage."""

import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from torch_layout import Call, External, Name, Raw, State, dump, legacy, tensor, write_zip

from latentfp.checkpoints.torch_files import flatten, read_tensors

DTYPES = ["<f4", "<f8", "<f2", "<i8", "<i4", "<i2", "i1", "u1", "?", jnp.bfloat16]
WEIGHTS = np.arange(24, dtype=np.float32)


@pytest.fixture(params=["zip", "legacy"])
def write(request, tmp_path):
    """Writes a tree and its storages in one of the two formats."""

    def file(value, storages, **options):
        path = tmp_path / "weights.pt"
        if request.param == "zip":
            return write_zip(path, value, storages, **options)
        path.write_bytes(legacy(value, storages, **options))
        return path

    return file


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_element_type(write, dtype):
    array = np.array([[0, 1, 2], [3, 4, 1]]).astype(dtype)
    read = read_tensors(write({"w": tensor("0", array)}, {"0": array}))["w"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_offsets_and_strides(write):
    """Element (i, j) of a tensor lies at offset + i · stride 0 + j · stride 1 of its storage."""
    view = tensor("0", WEIGHTS, offset=5, shape=(3, 4), strides=(2, 3))
    read = read_tensors(write([view], {"0": WEIGHTS}))[0]
    expected = [[WEIGHTS[5 + 2 * i + 3 * j] for j in range(4)] for i in range(3)]
    np.testing.assert_array_equal(read, expected)


def test_tensors_share_their_storage_and_cannot_be_written(write):
    tree = {"a": tensor("0", WEIGHTS), "b": tensor("0", WEIGHTS, offset=20, shape=(4,))}
    read = read_tensors(write(tree, {"0": WEIGHTS}))
    assert np.shares_memory(read["a"], read["b"])
    assert not read["a"].flags.writeable
    assert not read["b"].flags.writeable


def test_unusual_shapes(write):
    tree = {
        "scalar": tensor("0", WEIGHTS, offset=3, shape=()),
        "empty": tensor("1", WEIGHTS[:0], shape=(0, 3)),
        "repeated": tensor("0", WEIGHTS, offset=7, shape=(100, 2), strides=(0, 1)),
    }
    read = read_tensors(write(tree, {"0": WEIGHTS, "1": WEIGHTS[:0]}))
    assert read["scalar"] == 3.0
    assert read["empty"].shape == (0, 3)
    np.testing.assert_array_equal(read["repeated"], np.tile([7.0, 8.0], (100, 1)))


def test_parameters_metadata_and_records_of_a_training_run(write):
    weight = tensor("0", WEIGHTS)
    parameter = Call("torch._utils._rebuild_parameter", (weight, True, Call("collections.OrderedDict")))
    state = State(Call("collections.OrderedDict", ([["w", parameter]],)), {"_metadata": {"": {"version": 1}}})
    arguments = Raw(b"cargparse\nNamespace\n)\x81}X\x04\x00\x00\x00sizeK\x20sb")
    callbacks = {Name("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"): {"best": None}}
    tree = {
        "state_dict": state,
        "args": arguments,
        "callbacks": callbacks,
        "shape": Call("torch.Size", ((2,),)),
    }
    read = read_tensors(write(tree, {"0": WEIGHTS}))
    np.testing.assert_array_equal(read["state_dict"]["w"], WEIGHTS)
    assert list(read["state_dict"]) == ["w"]
    assert read["args"] == {"size": 32}
    assert read["shape"] == (2,)
    assert list(flatten(read)) == ["state_dict.w"]


def test_tensors_that_were_on_a_gpu(write):
    read = read_tensors(write(tensor("0", WEIGHTS, place="cuda:0"), {"0": WEIGHTS}))
    np.testing.assert_array_equal(read, WEIGHTS)


def test_old_zip_files_without_a_byte_order(tmp_path):
    path = tmp_path / "old.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dump(tensor("0", WEIGHTS)))
        archive.writestr("archive/data/0", WEIGHTS.tobytes())
    np.testing.assert_array_equal(read_tensors(path), WEIGHTS)


BROKEN = {
    "beyond the storage": tensor("0", WEIGHTS, shape=(25,)),
    "beyond by its stride": tensor("0", WEIGHTS, shape=(3, 3), strides=(11, 1)),
    "beyond by its offset": tensor("0", WEIGHTS, offset=2**62, shape=(1,)),
    "negative offset": tensor("0", WEIGHTS, offset=-1, shape=(1,)),
    "negative shape": tensor("0", WEIGHTS, shape=(-1,), strides=(1,)),
    "negative stride": tensor("0", WEIGHTS, offset=23, shape=(2,), strides=(-1,)),
    "fewer strides than axes": tensor("0", WEIGHTS, shape=(2, 2), strides=(1,)),
    "fractional shape": tensor("0", WEIGHTS, shape=(2.0,), strides=(1,)),
    "repeats without end": tensor("0", WEIGHTS, shape=(10**12,), strides=(0,)),
    "too many axes": tensor("0", WEIGHTS, shape=(1,) * 40),
    "huge storage": tensor("0", WEIGHTS, shape=(1,), count=2**60),
    "storage of negative size": tensor("0", WEIGHTS, shape=(1,), count=-24),
    "storage of fractional size": tensor("0", WEIGHTS, shape=(1,), count=24.0),
    "no storage": tensor("7", WEIGHTS),
    "storage key is no text": tensor(0, WEIGHTS),
    "storage of an unlisted type": Call(
        "torch._utils._rebuild_tensor_v2",
        (External(("storage", Name("numpy.ndarray"), "0", "cpu", 24)), 0, (1,), (1,), False, None),
    ),
    "unknown external data": External(("module", "0")),
    "external data that are no tuple": Raw(b"K\x01Q"),
    "a tensor of no storage": Call("torch._utils._rebuild_tensor_v2", ([1.0], 0, (1,), (1,), False, None)),
    "too few arguments": Call("torch._utils._rebuild_tensor_v2", (1,)),
    "code": Call("os.system", ("true",)),
    "a TorchScript class": Name("__torch__.torch.nn.Module"),
    "the loader of another file": Call("torch.storage._load_from_bytes", (b"\x80\x02.",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_impossible_tensors_are_one_clear_error(write, name):
    path = write({"w": BROKEN[name]}, {"0": WEIGHTS})
    with pytest.raises(ValueError, match=r"weights\.pt: it"):
        read_tensors(path)


def test_files_of_big_endian_machines(tmp_path):
    path = write_zip(tmp_path / "w.pt", tensor("0", WEIGHTS), {"0": WEIGHTS}, byteorder=b"big")
    with pytest.raises(ValueError, match="big-endian"):
        read_tensors(path)
    path.write_bytes(legacy(tensor("0", WEIGHTS), {"0": WEIGHTS}, little=False))
    with pytest.raises(ValueError, match="big-endian"):
        read_tensors(path)


OTHER_FILES = {
    "empty": b"",
    "text": b"not a checkpoint at all",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a plain pickle": dump({"a": 1}),
    "a pickle of another program": dump(Call("os.system", ("true",))),
    "a legacy file without storages": legacy(tensor("0", WEIGHTS), {}),
    "a legacy file with an unused storage": legacy({}, {"0": WEIGHTS}),
    "a legacy file of another magic": legacy({}, {}, magic=1),
    "half a zip": b"PK\3\4" + bytes(60),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_are_one_clear_error(tmp_path, name):
    path = tmp_path / "other.pt"
    path.write_bytes(OTHER_FILES[name])
    with pytest.raises(ValueError, match=r"other\.pt: "):
        read_tensors(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none.pt")


def test_other_zip_files(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"without data\.pkl"):
        read_tensors(path)
    write_zip(path, tensor("0", WEIGHTS), {"0": WEIGHTS}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", dump({}))
        archive.writestr("b/data.pkl", dump({"other": 1}))
    with pytest.raises(ValueError, match="same name"):
        read_tensors(path)


def test_a_truncated_file_is_an_error_at_every_length(write):
    path = write([tensor("0", WEIGHTS[:6]), tensor("1", WEIGHTS[:3])], {"0": WEIGHTS[:6], "1": WEIGHTS[:3]})
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"weights\.pt: "):
            read_tensors(path)


def test_a_flipped_byte_is_an_error_or_changes_nothing(tmp_path):
    """The zip format has checksums: what is read from a damaged file is what was written, or nothing."""
    path = write_zip(tmp_path / "w.pt", {"w": tensor("0", WEIGHTS[:4])}, {"0": WEIGHTS[:4]})
    data = path.read_bytes()
    refused = 0
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            read = read_tensors(path)
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(read["w"], WEIGHTS[:4])
    assert refused > len(data) / 7 / 2


def test_flatten_names_arrays_by_their_path():
    one = np.ones(1)
    tree = {"a": {"b": one, "note": "text"}, "c": [one, (one,)], 3: one, "n": 5}
    assert list(flatten(tree)) == ["3", "a.b", "c.0", "c.1.0"]


def test_flatten_refuses_what_has_no_end_or_no_clear_name():
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="deep"):
        flatten(loop)
    laughs = [np.ones(1)]
    for _ in range(40):
        laughs = [laughs, laughs]
    with pytest.raises(ValueError, match="parts"):
        flatten(laughs)
    with pytest.raises(ValueError, match=r"two arrays are called a\.b"):
        flatten({"a.b": np.ones(1), "a": {"b": np.ones(1)}})
