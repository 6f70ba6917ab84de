"""Where a message goes: DNS, MX hosts, their TLS policies, and the end points to connect to."""
