"""relay.v1's messages as values, and back."""
