"""The history of the configuration."""
