"""Measures the latency of every backend and of a policy server under load."""
