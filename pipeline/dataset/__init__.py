"""Episodes and the training zarr: stores, resamples and splits them, and takes statistics."""
