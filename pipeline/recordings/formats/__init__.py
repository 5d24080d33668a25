"""Recordings that are no bags: NumPy files, JSON and YAML, Diffusion Policy zarr, LeRobot."""
