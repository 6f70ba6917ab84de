"""Alembic's entry; the connection and options come from services.config_api.storage.database."""

from alembic import context

context.run_migrations()
