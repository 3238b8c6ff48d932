"""Trainings, whoever's trainer does them: arguments, checkpoints, held-out loss."""
