"""The durable queue: messages, deliveries, attempts, leases, in SQLite or PostgreSQL, through one set of statements."""
