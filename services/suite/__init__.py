"""The suite as one command: the services as child processes, and a demonstration of them."""
