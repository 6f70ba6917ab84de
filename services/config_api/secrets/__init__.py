"""The storage of passwords, keys and other secrets, which are hashed or encrypted and never shown."""
