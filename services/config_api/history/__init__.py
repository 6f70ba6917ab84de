"""What was changed: revisions, the audit log, export and import."""
