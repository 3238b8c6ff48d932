"""What to do, of a run: by one rule, from evidence."""
