"""The console: web pages for operators, which use only the public API."""
