"""Readers of recordings that are not bags: NumPy, JSON and YAML, Diffusion Policy zarr, LeRobot."""
