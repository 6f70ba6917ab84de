"""The environment of Alembic. The connection and the options come from services.config_api.storage.database."""

from alembic import context

context.run_migrations()
