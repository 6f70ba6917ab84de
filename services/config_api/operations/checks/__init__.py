"""The checks that each service makes of its own machine and settings."""
