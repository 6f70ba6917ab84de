"""Export and import of the whole configuration."""
