"""Weights in the formats of other software, read without executing anything."""
