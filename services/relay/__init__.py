"""relay: the durable queue, and the delivery of what is in it."""
