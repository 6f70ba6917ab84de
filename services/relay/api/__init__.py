"""The gRPC face of relay: relay.v1's servicer, its operator actions, and the translation of its messages."""
