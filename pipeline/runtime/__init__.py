"""Runs a policy on the robot without torch: observations in, joint commands out."""
