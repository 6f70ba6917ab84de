"""config_api: keeps what operators configure, serves it over HTTP, and feeds it to policy and relay."""
