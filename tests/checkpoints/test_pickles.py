"""The pickle reader: equal to Python's own on plain data, and deaf to everything else."""

import contextlib
import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from torch_layout import Call, External, Name, Raw, State, dump

from latentfp.checkpoints import pickles
from latentfp.checkpoints.pickles import PLAIN


def read(data: bytes):
    return pickles.load(io.BytesIO(data), PLAIN)


PLAIN_VALUES = {
    "numbers": [0, 1, 255, 256, 65536, -1, -(2**40), 2**200, 0.5, float("inf"), True, False, None],
    "text": ["", "a", "é" * 300, b"", b"raw", b"x" * 300],
    "nested": {"a": [1, (2, 3), {"b": ()}], 4: {"c": [[]]}, "long": list(range(2000))},
    "ordered": OrderedDict([("z", 1), ("a", OrderedDict(b=2))]),
    "sets": [set(), {1, "two"}],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", PLAIN_VALUES)
def test_plain_data_are_read_as_python_reads_them(name, protocol):
    data = pickle.dumps(PLAIN_VALUES[name], protocol)
    ours = read(data)
    assert ours == PLAIN_VALUES[name]
    assert type(ours) is type(PLAIN_VALUES[name])


def test_a_shared_list_stays_one_list():
    shared = [1]
    first, second = read(pickle.dumps([shared, shared], 4))
    assert first is second


def test_a_list_that_contains_itself():
    loop = []
    loop.append(loop)
    ours = read(pickle.dumps(loop, 4))
    assert ours[0] is ours


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4", "<i8", "u1", "?", "<c8"])
def test_numpy_arrays_and_scalars(dtype, protocol):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for value in (array, np.asfortranarray(array), array[1, 2]):
        data = pickle.dumps(value, protocol)
        ours = read(data)
        assert ours.dtype == pickle.loads(data).dtype
        np.testing.assert_array_equal(ours, value)


def test_records_of_other_libraries_become_dictionaries():
    namespace = Raw(b"cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x02sb")
    easy = Raw(b"cdnnlib.util\nEasyDict\n)\x81X\x02\x00\x00\x00lrK\x02s")
    assert read(dump([namespace, easy])) == [{"lr": 2}, {"lr": 2}]


def test_attributes_of_an_ordered_dictionary_are_dropped():
    value = State(Call("collections.OrderedDict", ([["w", 1]],)), {"_metadata": {}})
    assert read(dump(value)) == {"w": 1}


class Attack:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(marker):
    """Pickles that make the file `marker` when Python reads them, and the name that each asks for first."""
    command = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    system = f"{os.name}.system"
    return {
        "os.system": (pickle.dumps(Attack(os.system, command), 2), system),
        "protocol 4": (pickle.dumps({"weights": [Attack(os.system, command)]}, 4), system),
        "eval": (dump(Call("builtins.eval", (python,))), "builtins.eval"),
        "exec": (dump(Call("builtins.exec", (python,))), "builtins.exec"),
        "Python 2 names": (dump(Call("__builtin__.eval", (python,))), "__builtin__.eval"),
        "getattr": (dump(Call("builtins.getattr", (Name("os.path"), "system"))), "builtins.getattr"),
        "an attribute of a listed name": (
            dump(
                Raw(
                    b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93"
                )
            ),
            "collections.OrderedDict.__init__",
        ),
        "copyreg": (
            dump(Call("copyreg._reconstructor", (Name("builtins.object"), Name("builtins.object"), None))),
            "copyreg._reconstructor",
        ),
        "in a tensor's hooks": (
            dump(Call("collections.OrderedDict", ([["w", Call("os.system", (command,))]],))),
            "os.system",
        ),
        "in the state of an object": (
            dump(State(Call("collections.OrderedDict"), {"_metadata": Call("os.system", (command,))})),
            "os.system",
        ),
        "in a key": (dump({Call("os.system", (command,)): 1}), "os.system"),
        "subprocess": (dump(Call("subprocess.call", (["touch", str(marker)],))), "subprocess.call"),
        "a module of numpy": (
            dump(Call("numpy.testing._private.utils.runstring", (python, {}))),
            "numpy.testing._private.utils.runstring",
        ),
        "only mentioned": (dump(Name("shutil.rmtree")), "shutil.rmtree"),
        "new object": (dump(Raw(b"csubprocess\nPopen\n(X\x04\x00\x00\x00truet\x81")), "subprocess.Popen"),
    }


@pytest.mark.parametrize("name", attacks("unused"))
def test_attacks_are_refused_by_name_and_do_nothing(tmp_path, name):
    marker = tmp_path / "executed"
    data, asked = attacks(marker)[name]
    with pytest.raises(ValueError, match=asked.replace(".", r"\.")):
        read(data)
    assert not marker.exists()


def test_the_attacks_are_real(tmp_path):
    """Python's unpickler does run the first of them, so that the test above could fail."""
    marker = tmp_path / "executed"
    pickle.loads(attacks(marker)["os.system"][0])
    assert marker.exists()


MISUSES = {
    "calling a name that may only be mentioned": dump(Call("numpy.ndarray", ((2,),))),
    "calling a value": dump(Raw(b"K\x01)R")),
    "arguments that are no tuple": dump(Raw(b"ccollections\nOrderedDict\n]R")),
    "setting attributes of a builder": dump(State(Name("collections.OrderedDict"), {"build": 1})),
    "setting attributes of a number": dump(State(1, {"real": 2})),
    "setting items of a list": dump(Raw(b"]K\x00K\x01s")),
    "appending to a tuple": dump(Raw(b")K\x01a")),
    "adding to a list": dump(Raw(b"](K\x01\x90")),
    "a tuple as a key": dump({(1, 2): 3}),
    "a list as a key": dump(Raw(b"}]K\x01s")),
    "an odd number of items": dump(Raw(b"}(K\x01u")),
    "an object": dump(
        Call("numpy.core.multiarray.scalar", (Call("numpy.dtype", ("O8", False, True)), b"12345678"))
    ),
    "a record type": dump(
        State(Call("numpy.dtype", ("V8", False, True)), (3, "|", None, ("a",), {"a": 1}, 8, 1, 0)),
    ),
    "an array shorter than it says": dump(
        State(
            Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (0,), b"b")),
            (1, (10**9,), Call("numpy.dtype", ("f8", False, True)), False, b"12345678"),
        )
    ),
    "data outside the file": dump(External(("storage", 1))),
    "old instructions": b"(ios\nsystem\n.",
    "an extension": dump(Raw(b"\x82\x01")),
    "a buffer outside the file": dump(Raw(b"\x97")),
    "an empty stack": b"\x80\x02.",
    "nothing to pop": dump(Raw(b"00")),
    "no mark": dump(Raw(b"t")),
    "an unknown memo": dump(Raw(b"h\x05")),
    "text that is not text": dump(Raw(b"X\x02\x00\x00\x00\xff\xff")),
    "no end": b"\x80\x02K\x01",
    "more text than there is": dump(Raw(b"\x8d" + (2**62).to_bytes(8, "little"))),
    "bytes in another encoding": dump(Call("_codecs.encode", ("text", "rot13"))),
    "a name that is no text": dump(Raw(b"K\x01K\x02\x93")),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_one_clear_error(name):
    with pytest.raises(ValueError, match=r"\w"):
        read(MISUSES[name])


def test_a_deep_key_does_not_overflow_the_stack():
    with pytest.raises(ValueError, match="as a key"):
        read(dump(Raw(b"}" + b")" + b"\x85" * 5_000 + b"K\x01s")))


def test_an_array_of_very_many_axes_is_not_measured():
    """Their product has a hundred million bits."""
    made = Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (0,), b"b"))
    element = Call("numpy.dtype", ("f8", False, True))
    with pytest.raises(ValueError, match="a shape that there is not"):
        read(dump(State(made, (1, (2**1000,) * 100_000, element, False, b"12345678"))))


def test_a_list_is_not_copied_without_end():
    pairs = _pairs(1000)
    copies = Raw(b"0ccollections\nOrderedDict\nq\x010" + b"h\x01h\x00\x85R0" * 1500 + b"N")
    with pytest.raises(ValueError, match="unfolds"):
        read(dump(Raw(pairs + copies.code)))


def _pairs(count: int) -> bytes:
    return b"](" + b"".join(b"K\x01K\x02\x86" for _ in range(count)) + b"eq\x00"


def test_a_huge_memo_index_costs_nothing():
    assert read(dump(Raw(b"K\x07r\xff\xff\xff\xff"))) == 7


def test_endless_pickles_are_cut_short(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(ValueError, match="more than 1000 instructions"):
        read(dump(Raw(b"N0" * 1000)))


def test_damage_anywhere_is_an_error_or_a_plain_value():
    """Every truncation and every flipped byte of a small pickle with all kinds of instruction."""
    data = pickle.dumps({"a": [1.5, "t", {1}, (None, True)], "n": np.float32(2), "m": np.arange(3)}, 4)
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r"\w"):
            read(data[:end])
    survived = 0
    for at in range(len(data)):
        with contextlib.suppress(ValueError):
            read(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            survived += 1
    assert survived > 0
