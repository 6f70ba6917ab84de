"""The api-keys resource."""
