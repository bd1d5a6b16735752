"""Noise schedules, DDIM and guidance: pure functions that every family of models uses."""
