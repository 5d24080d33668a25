"""The arm: model, kinematics, planning and simulation."""
