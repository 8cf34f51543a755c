"""Objectives: pure losses and updates."""
