"""Evaluates a policy in closed and open loop and draws the results; independent of the network."""
