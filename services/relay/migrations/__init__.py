"""The migrations of the schema, which services.relay.queue.database runs at every start."""
