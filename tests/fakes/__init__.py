"""Small gRPC servers that give scripted answers. Tests of one service use them in place of the other services."""
