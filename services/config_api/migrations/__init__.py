"""The migrations of the schema. They only add to it, so that the previous release can run beside this one."""
