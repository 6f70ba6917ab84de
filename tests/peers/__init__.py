"""The real servers that tests and benchmarks talk to. None of these modules needs pytest."""
