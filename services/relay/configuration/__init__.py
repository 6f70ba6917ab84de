"""What the operators configured: its values, how they are read from a snapshot, and how changes are followed."""
