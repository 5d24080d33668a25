"""What the page shows: the live policy, evaluated trials, or recorded episodes."""
