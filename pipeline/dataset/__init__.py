"""Episodes and the training zarr: stored, resampled, split and measured. Knows no recording."""
