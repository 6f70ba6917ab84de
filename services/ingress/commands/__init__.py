"""The SMTP commands, a module a family; each takes the dialogue and the command's argument."""
