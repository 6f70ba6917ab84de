"""The migrations of the schema. They only add to the schema, so that the previous release can run beside this one."""
