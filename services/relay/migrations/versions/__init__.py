"""The migrations, with one module for each."""
