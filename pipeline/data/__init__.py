"""Episodes, recordings and datasets: what the arm did, and how it is stored."""
