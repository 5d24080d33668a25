"""Measures latency of every backend, and a served policy under load."""
