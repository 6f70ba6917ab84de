"""How a message leaves: look-ups, connections, transactions."""
