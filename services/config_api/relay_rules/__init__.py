"""The relay-rules resource."""
