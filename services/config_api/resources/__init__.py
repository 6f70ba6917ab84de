"""The resources of the API. Each has a module with its schema, its checks, and the way in which it is stored."""
