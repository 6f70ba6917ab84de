"""Small real gRPC servers that answer by script, for the tests of one service alone."""
