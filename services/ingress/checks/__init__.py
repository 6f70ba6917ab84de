"""The checks of content that policy may ask for: DKIM, ARC, viruses and spam."""
