"""The real servers that tests and benchmarks talk to; none of them needs pytest."""
