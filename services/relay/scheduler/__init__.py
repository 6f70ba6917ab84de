"""When each delivery is tried, and what becomes of it."""
