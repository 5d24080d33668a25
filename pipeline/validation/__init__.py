"""Turns candidate trajectories into episodes, or says why one is left out."""
