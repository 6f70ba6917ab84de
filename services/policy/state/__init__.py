"""Counters and blocked clients: in memory, or in a Redis that replicas share."""
