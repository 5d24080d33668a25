"""Many runs of the chain: grids, queues, clusters, searches, and comparisons of the results."""
