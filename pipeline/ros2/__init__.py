"""The policy among ROS 2 nodes, and recordings of what they publish; on DDS it needs no ROS."""
