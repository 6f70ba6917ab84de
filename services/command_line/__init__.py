"""The commands with which people operate a suite: they call its API through `posthouse_client`."""
