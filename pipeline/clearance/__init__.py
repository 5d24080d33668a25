"""Distances of swept motions from obstacles, the object and the arm itself, in NumPy alone."""
