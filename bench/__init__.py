"""Posthouse side by side with real peers, on loopback, alternated in one run."""
