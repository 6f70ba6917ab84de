"""The suite as one command: the four services as child processes, and a demonstration of them."""
