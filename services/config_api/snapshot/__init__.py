"""The configuration in the form that policy and relay get."""
