"""Batches of training windows: in memory, streamed from disk, and prepared ahead."""
