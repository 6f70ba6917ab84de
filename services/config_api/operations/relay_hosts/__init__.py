"""The test of a relay host."""
