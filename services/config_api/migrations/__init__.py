"""The schema's history. Migrations only add, so that the release before can run beside this one."""
