"""Converts the messages of relay.v1 to values and back."""
