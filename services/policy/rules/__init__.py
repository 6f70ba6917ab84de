"""The rules themselves: pure functions from facts and snapshot to an objection or None."""
