"""policy: decides about every step of a session, from its facts and the configuration."""
