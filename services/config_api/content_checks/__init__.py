"""The content-checks resource."""
