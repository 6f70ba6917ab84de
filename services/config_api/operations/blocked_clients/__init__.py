"""Clients that policy has blocked."""
