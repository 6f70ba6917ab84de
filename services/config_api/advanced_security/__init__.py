"""The advanced-security resource."""
