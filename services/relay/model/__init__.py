"""The values that intake, queue, scheduler, delivery and reports share. This package is pure."""
