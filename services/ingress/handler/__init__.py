"""A site's own code: the hooks of an aiosmtpd handler, called between policy's decision and relay."""
