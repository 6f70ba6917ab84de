"""Tests of the service policy."""
