"""The clients that policy has blocked."""
