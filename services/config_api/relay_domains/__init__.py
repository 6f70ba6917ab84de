"""The relay-domains resource."""
