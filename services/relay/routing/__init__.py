"""Computes the route of each recipient: roles, aliases, and relay rules. This package is pure."""
