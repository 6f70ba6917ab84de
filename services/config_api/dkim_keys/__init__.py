"""The dkim-keys resource."""
