"""What devices would do at best."""

import pytest

from latentfp.bench.roofline import DEVICES, HERE, Device, predicted, seconds


def stage(flops, moved, *, per_second=10.0, devices=1, whole=False):
    costs = {"flops": flops, "bytes": moved, "whole_numbers": whole}
    return {"items": 4, "unit": "images", "per_second": per_second, "devices": devices, **costs}


def test_the_slower_of_operations_and_memory_decides():
    device = Device(100.0, 10.0)
    assert seconds(device, 200.0, 10.0) == 2
    assert seconds(device, 200.0, 30.0) == 3


def test_bounds_here_and_elsewhere():
    busy, idle = predicted({"busy": stage(1e12, 1e6), "idle": stage(1e6, 1e12)}, Device(1e11, 1e10))
    assert (busy[HERE], busy["reached"]) == (pytest.approx(0.4), pytest.approx(25))
    assert not any(busy["memory_bound"].values())
    assert all(idle["memory_bound"].values())
    assert busy["H100"] == pytest.approx(4 * DEVICES["H100"].flops / 1e12)
    assert idle["H200"] / idle["H100"] == pytest.approx(4.8 / 3.35)
    assert idle["TPU v5e"] == pytest.approx(4 * 819e9 / 1e12)


def test_a_share_is_that_of_one_device():
    """Costs are those on one device, and the items those of all."""
    (row,) = predicted({"both": stage(1e11, 1.0, per_second=8.0, devices=2)}, Device(1e11, 1e10))
    assert row[HERE] == pytest.approx(4 / 2)
    assert row["reached"] == pytest.approx(8.0 / 2 / 2)


def test_what_is_not_known_or_none_of_that_is_left_out():
    assert (
        predicted({"a": stage(None, 1.0), "b": stage(1.0, None), "c": stage(1, 1, whole=True)}, Device(1, 1))
        == []
    )
