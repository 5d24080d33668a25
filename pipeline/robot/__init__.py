"""The arm: model, kinematics, planning and simulation. Knows nothing of policies."""
