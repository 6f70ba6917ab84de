"""Explains decisions and routes: asks policy and relay for the API."""
