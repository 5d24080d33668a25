"""Checks chunks before they are sent: clearances, repair, and what became of each chunk."""
