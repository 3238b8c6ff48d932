"""Figures of the report: which numbers, with caption, alternative text and query."""
