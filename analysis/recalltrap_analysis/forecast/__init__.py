"""The anchor part forecast from the references, and how wrong the forecast was."""
