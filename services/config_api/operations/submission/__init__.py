"""Mail handed in over HTTP."""
