"""The real servers with which tests and benchmarks communicate. None of these modules needs pytest."""
