"""Runs a site's own code: the hooks of an aiosmtpd handler, which are called between policy's decision and relay."""
