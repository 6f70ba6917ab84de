"""The rules themselves: pure functions from facts and snapshot to a match or None."""
