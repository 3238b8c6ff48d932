"""The page of a check, and how a study that ran afterwards scores its sentence."""
