"""Closed- and open-loop trials of a policy and their pictures; knows robots, but no network."""
