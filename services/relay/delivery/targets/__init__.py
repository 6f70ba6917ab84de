"""Finds where a message goes: DNS, MX hosts, their TLS policies, and the addresses to connect to."""
