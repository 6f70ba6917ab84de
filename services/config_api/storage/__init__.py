"""The database of config_api."""
