"""The storage under Ray: its filesystem, and what happens when it is full."""
