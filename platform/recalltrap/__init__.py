"""Controlled studies of when to align: before or after distilling.

The four entries below are what a notebook needs; the command line does the same.
"""

from recalltrap.errors import InputError, RecalltrapError, StageError
from recalltrap.results.results import Results, open_run
from recalltrap.run.run import run
from recalltrap.study.named_studies import load_study, named_studies

__all__ = [
    "InputError",
    "RecalltrapError",
    "Results",
    "StageError",
    "load_study",
    "named_studies",
    "open_run",
    "run",
]
