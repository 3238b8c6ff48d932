"""A process that watches the one that does the work, and has the last word when that can't."""
