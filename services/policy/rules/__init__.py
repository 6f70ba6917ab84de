"""The rules: pure functions from facts and snapshot to a match or None."""
