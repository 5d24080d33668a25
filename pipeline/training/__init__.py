"""Train a policy: data, loop, saved states and logs."""
