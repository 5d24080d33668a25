"""Trains a policy: the loop, its data, its interruption and what it logs."""
