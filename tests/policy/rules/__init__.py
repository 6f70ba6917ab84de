"""Tests of rules that the YAML cases do not cover."""
