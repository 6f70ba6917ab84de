"""Trying a relay host out."""
