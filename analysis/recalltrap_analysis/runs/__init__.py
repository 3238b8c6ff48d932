"""A run as the analysis reads it."""
