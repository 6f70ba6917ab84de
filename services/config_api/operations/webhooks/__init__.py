"""The endpoints that list the deliveries of webhooks, and that send an event again."""
