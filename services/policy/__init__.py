"""policy: decides about the steps of a session, from its facts and the configuration."""
