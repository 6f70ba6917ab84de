"""The parts of every process of the suite: start, serving, monitoring and stop."""
