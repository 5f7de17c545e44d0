"""A Domo instance host."""
