"""What config_api keeps in its database."""
