"""Tests of the stores of counters."""
