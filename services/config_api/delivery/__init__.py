"""The delivery resource."""
