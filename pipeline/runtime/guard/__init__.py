"""Checks chunks for collisions before they are sent, repairs unsafe ones and reports the result."""
