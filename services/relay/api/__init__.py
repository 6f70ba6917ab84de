"""The gRPC interface of relay: the servicer of relay.v1, the actions of operators, and the conversion of messages."""
