"""OAuth for a portal's local application: tokens that are renewed by one worker, and used by all."""
