"""Decides when each delivery is tried, and what happens after the attempt."""
