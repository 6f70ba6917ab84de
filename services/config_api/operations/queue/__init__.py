"""The queue of relay, its destinations, and the history of messages."""
