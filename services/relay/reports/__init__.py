"""Delivery status notifications: what they say, and when one is made."""
