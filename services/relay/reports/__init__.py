"""Delivery status notifications: their content, and when they are made."""
