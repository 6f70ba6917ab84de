"""The schema's history, run by services.relay.queue.database at every start."""
