"""Metrics and curves of finished cells."""
