"""Versions: what a policy must have shown, its card, its tags, and the remotes that hold it."""
