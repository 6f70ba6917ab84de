"""What becomes of messages, told to other systems: one reader of relay's events, webhooks and streams fed by it."""
