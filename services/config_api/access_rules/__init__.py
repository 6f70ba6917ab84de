"""The access-rules resource."""
