"""Passwords, keys and other secrets: they are hashed or encrypted, and never shown."""
