"""Passwords, keys and other secrets: hashed, sealed, never shown."""
