"""The gRPC clients of ingress: the decision stream to policy, and the submission stream to relay."""
