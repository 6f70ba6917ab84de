"""SMTP and LMTP as a client: connections, sessions, and transactions."""
