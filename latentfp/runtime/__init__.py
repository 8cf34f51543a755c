"""Devices, disks and clocks; no science."""
