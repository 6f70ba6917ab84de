"""The console: pages for operators, which know nothing but the public API."""
