"""The tables of a run: what they hold, and how they are read."""
