"""Many runs of the chain: grids, queues, clusters, searches, and what came of them."""
