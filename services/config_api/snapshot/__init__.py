"""The configuration as the other services get it."""
