"""What a device would do at best: the roofline of published peaks.

    seconds = max(operations / (operations a second), bytes / (bytes a second))

Operations and bytes are XLA's count (bench/costs.py) of the program for the machine that measured; another
backend fuses differently, and none reaches its peaks. So these are bounds; the share of the bound that this
machine reached says how far off they may be.
Source: Williams, Waterman, Patterson 2009 (doi:10.1145/1498765.1498785).
"""

from collections.abc import Mapping
from typing import NamedTuple

from latentfp.studies.experiment import Numbers


class Device(NamedTuple):
    """Operations and bytes a second of a device: of its dense matrix units at JAX's default precision, and of
    its memory."""

    flops: float
    bandwidth: float


# NVIDIA's data sheets of the H100 and H200 (SXM; TF32 without sparsity), Google's documentation of TPU v5e
# (bfloat16 products, as JAX's default precision uses on TPUs).
DEVICES = {
    "H100": Device(494.7e12, 3.35e12),
    "H200": Device(494.7e12, 4.8e12),
    "TPU v5e": Device(197e12, 819e9),
}
HERE = "this machine"


def predicted(stages: Mapping[str, Numbers], measured: Device) -> list[Numbers]:
    """Items a second of every stage whose cost is known, on a device of this machine (`measured`) and others.

    `reached`: the share of the bound that was measured here; `memory_bound`: where the bytes decide, by name.
    """
    devices, rows = {HERE: measured, **DEVICES}, []
    for name, row in stages.items():
        if row["flops"] is None or row["bytes"] is None or row["whole_numbers"]:
            continue
        cost, items = (float(row["flops"]), float(row["bytes"])), row["items"] / row["devices"]
        bounds = {it: items / seconds(device, *cost) for it, device in devices.items()}
        by_memory = {
            it: cost[1] / device.bandwidth > cost[0] / device.flops for it, device in devices.items()
        }
        reached = row["per_second"] / row["devices"] / bounds[HERE]
        rows.append(
            {"stage": name, "unit": row["unit"], **bounds, "reached": reached, "memory_bound": by_memory}
        )
    return rows


def seconds(device: Device, flops: float, moved: float) -> float:
    """What so many operations and bytes take at least."""
    return max(flops / device.flops, moved / device.bandwidth)
