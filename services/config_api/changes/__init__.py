"""How settings are changed: checks, preconditions, the first start."""
