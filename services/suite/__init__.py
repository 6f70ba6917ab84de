"""The suite as one command, which runs the services as child processes, and a demonstration of the suite."""
