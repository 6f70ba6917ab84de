"""Which way each recipient goes: roles, aliases, and relay rules. Pure."""
