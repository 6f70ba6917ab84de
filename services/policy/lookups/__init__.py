"""The look-ups of policy: one caching resolver, and the questions that are asked through it."""
