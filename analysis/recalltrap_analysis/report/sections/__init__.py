"""Sections of the report: which numbers, and what they mean."""
