"""The values that intake, queue, scheduler, delivery and reports share. Pure."""
