"""The deliveries of webhooks: their list, and another delivery on demand."""
