"""The SMTP commands, with one module for each family. Each command gets the session and its argument."""
