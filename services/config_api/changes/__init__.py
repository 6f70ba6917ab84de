"""Changes of the configuration: checks, preconditions, the first start."""
