"""What webhooks were sent, and sending once more."""
