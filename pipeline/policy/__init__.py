"""The diffusion policy: networks, sampling, files, exports. Knows nothing of robots."""
