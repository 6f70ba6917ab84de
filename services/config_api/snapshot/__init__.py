"""The configuration in the form in which policy and relay get it."""
