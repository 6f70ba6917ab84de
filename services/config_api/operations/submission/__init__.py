"""The submission of mail over HTTP."""
