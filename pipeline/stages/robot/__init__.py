"""The commands among ROS 2 nodes."""
