"""Tests of the rules beyond their cases."""
