"""Rotation of API keys."""
