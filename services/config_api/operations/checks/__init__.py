"""What each service found out about its own machine and settings."""
