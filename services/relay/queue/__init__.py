"""The durable queue: messages, deliveries, attempts and leases, in SQLite or PostgreSQL, with the same statements for
both.
"""
