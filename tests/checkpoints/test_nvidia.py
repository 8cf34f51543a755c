"""NVIDIA's pickles written by hand, with code that must never run."""

import numpy as np
import pytest
from torch_layout import LOAD, RECONSTRUCT, Call, Raw, State, dump, module, stored

from latentfp.checkpoints.stylegan2 import read_network


def write(tmp_path, tree):
    path = tmp_path / "network.pkl"
    path.write_bytes(dump(tree))
    return path


def test_settings_and_tensors_without_running_the_source(tmp_path):
    marker = tmp_path / "executed"
    source = f"open({str(marker)!r}, 'w').close()"
    weight, average = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
    parameter = Call(
        "torch._utils._rebuild_parameter", (stored(weight), True, Call("collections.OrderedDict"))
    )
    inner = module(parameters={"weight": parameter, "bias": None}, conv_clamp=256, source=source)
    network = module(modules={"fc": inner}, buffers={"w_avg": stored(average)}, c_dim=0, source=source)
    path = write(tmp_path, {"G_ema": network, "D": None, "training_set_kwargs": {"path": "x"}})
    settings, tensors = read_network(path, "G_ema")
    assert not marker.exists()
    assert settings == {"training": False, "c_dim": 0, "fc.training": False, "fc.conv_clamp": 256}
    assert list(tensors) == ["w_avg", "fc.weight"]
    np.testing.assert_array_equal(tensors["fc.weight"], weight)
    np.testing.assert_array_equal(tensors["w_avg"], average)


def test_numpy_gains_among_the_settings(tmp_path):
    gain = Call(
        "numpy.core.multiarray.scalar", (Call("numpy.dtype", ("f8", False, True)), np.float64(0.25).tobytes())
    )
    settings, _ = read_network(write(tmp_path, {"D": module(weight_gain=gain)}), "D")
    assert settings["weight_gain"] == 0.25


def test_an_absent_network_lists_those_present(tmp_path):
    path = write(tmp_path, {"G": module(), "D": module()})
    with pytest.raises(ValueError, match="no network G_ema, only G, D"):
        read_network(path, "G_ema")


def loop() -> bytes:
    """A network that is its own submodule, through the memo."""
    modules = b"}q\x00(X\x04\x00\x00\x00selfNu0"
    network = Call(RECONSTRUCT, ({"state": {"_parameters": {}, "_buffers": {}, "_modules": Raw(b"h\x00")}},))
    tied = b"0h\x00X\x04\x00\x00\x00selfh\x01s0"
    return dump(Raw(modules + dump(network)[2:-1] + b"q\x01" + tied + dump({"G": Raw(b"h\x01")})[2:-1]))


BROKEN = {
    "a submodule of itself": loop(),
    "code": dump({"G": module(buffers={"w": Call("os.system", ("true",))})}),
    "an old TensorFlow network": dump({"G": State(Raw(b"cdnnlib.tflib.network\nNetwork\n)\x81"), {})}),
    "code inside a tensor": dump({"G": Call(LOAD, (dump(Call("os.system", ("true",))),))}),
    "a tensor inside a tensor": dump({"G": Call(LOAD, (dump(Call(LOAD, (b"",))),))}),
    "no state": dump({"G": Call(RECONSTRUCT, ({"type": "class"},))}),
    "a state that is no dictionary": dump({"G": Call(RECONSTRUCT, ({"state": [1]},))}),
    "no record": dump({"G": Call(RECONSTRUCT, (1,))}),
    "a parameter that is a number": dump({"G": module(parameters={"w": 1})}),
    "a submodule that is a number": dump({"G": module(modules={"m": 1})}),
    "no network at all": dump([1]),
    "truncated": dump({"G": module()})[:-20],
    "empty": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_clear_error(tmp_path, name):
    path = tmp_path / "network.pkl"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=r"network\.pkl: "):
        read_network(path, "G")


@pytest.mark.golden
def test_the_public_layout(golden):
    settings, tensors = read_network(golden("sg2_nvidia_32") / "network_sg3.pkl", "D")
    assert (settings["c_dim"], settings["img_resolution"], settings["b4.mbstd.group_size"]) == (0, 32, 4)
    assert settings["b32.skip.weight_gain"] == 0.25
    assert tensors["b4.fc.weight"].shape == (16, 256)
    assert all(np.isfinite(array).all() for array in tensors.values())
