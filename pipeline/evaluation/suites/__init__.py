"""Further tests on the trials of an evaluation: grasps, and the planner as a fallback."""
