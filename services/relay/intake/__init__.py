"""How a submitted message enters the queue."""
