"""Controlled studies of when to align: before or after distilling.

The entries below are what a notebook needs; the command line does the same.
"""

from recalltrap.errors import InputError, RecalltrapError, StageError
from recalltrap.results.results import Results, open_run
from recalltrap.results.verdict import Verdict
from recalltrap.run.check import Check, check
from recalltrap.run.forecast import Forecast, forecast
from recalltrap.run.run import run
from recalltrap.run.study_plan import StudyPlan, plan
from recalltrap.study.named_studies import load_study, named_studies

__all__ = [
    "Check",
    "Forecast",
    "InputError",
    "RecalltrapError",
    "Results",
    "StageError",
    "StudyPlan",
    "Verdict",
    "check",
    "forecast",
    "load_study",
    "named_studies",
    "open_run",
    "plan",
    "run",
]
