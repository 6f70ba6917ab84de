"""Alembic's entry; the connection and options come from services.relay.queue.database."""

from alembic import context

context.run_migrations()
