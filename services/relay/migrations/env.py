"""The environment of Alembic. The connection and the options come from services.relay.queue.database."""

from alembic import context

context.run_migrations()
