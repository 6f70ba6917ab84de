"""How a process of the suite starts, serves, is seen and stops."""
