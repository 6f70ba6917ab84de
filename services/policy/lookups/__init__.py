"""Facts that have to be looked up: one caching resolver, and what is asked through it."""
