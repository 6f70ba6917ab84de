"""DNS code that several services use."""
