"""Relay: the durable queue, and the delivery of the messages in it."""
