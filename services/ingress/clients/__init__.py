"""The gRPC sides of ingress: the decision stream to policy and the submission stream to relay."""
