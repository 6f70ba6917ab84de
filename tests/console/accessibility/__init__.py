"""Every page of the console as axe-core sees it: `make console-check`."""
