"""Links from a task to the thing it works on, in the vendor's own UI."""
