"""The whole configuration out and in."""
