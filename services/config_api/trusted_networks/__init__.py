"""The trusted-networks resource."""
