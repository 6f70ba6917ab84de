"""The local-domains resource."""
