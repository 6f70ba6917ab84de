"""The sender-policy resource."""
