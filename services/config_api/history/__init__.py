"""The history of changes: revisions, the audit log, export and import."""
