"""The queue, its destinations, and the history of messages, which relay has."""
