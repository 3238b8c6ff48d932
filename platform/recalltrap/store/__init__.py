"""Artifacts: where they lie, and where they came from."""
