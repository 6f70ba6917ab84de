"""Statistics: how much mail was accepted, refused, delivered, deferred and bounced."""
