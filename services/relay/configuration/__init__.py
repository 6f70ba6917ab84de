"""What operators configured: its values, the reader of a snapshot, and the watch for changes."""
