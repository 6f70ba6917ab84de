"""What runs, how it is joined, and what is to be looked at."""
