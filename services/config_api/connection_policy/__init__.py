"""The connection-policy resource."""
