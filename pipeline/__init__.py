"""Expert arm trajectories in, a diffusion policy that works in closed loop out."""
