"""The explanation of decisions and routes, for which policy and relay are asked."""
