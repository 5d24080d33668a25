"""Finds and reads recordings and segments them into trajectories; rejects nothing."""
