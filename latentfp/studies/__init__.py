"""Experiments as functions of a deployment."""
