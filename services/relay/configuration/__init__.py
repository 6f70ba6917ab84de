"""The configuration that operators have made: its values, the reader of its snapshots, and the watch for changes."""
