"""axe-core checks every page of the console: `make console-check`."""
