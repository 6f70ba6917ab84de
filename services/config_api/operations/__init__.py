"""Operation of the gateway: queue, blocked clients, explanations, relay host tests."""
