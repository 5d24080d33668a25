"""Checks of this machine for the command doctor."""
