"""The queue-settings resource."""
