"""The state of the services, and warnings."""
