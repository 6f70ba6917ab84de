"""config_api: stores the configuration of operators, serves it over HTTP, and publishes it to policy and relay."""
