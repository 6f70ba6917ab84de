"""One module for each resource: its schema, its checks, its place in storage."""
