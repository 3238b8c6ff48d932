"""Structured logs: a JSON object per line, with the ids of the cells that it is about."""
