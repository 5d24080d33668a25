"""Bags of ROS 1 and ROS 2: read, recovered, decoded and written, without ROS."""
