"""Recordings of MoveIt2 plans: found, read, and cut into candidate trajectories. Judges nothing."""
