"""The checks of content that policy may ask for: DKIM, ARC and viruses."""
