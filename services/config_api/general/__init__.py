"""The general resource."""
