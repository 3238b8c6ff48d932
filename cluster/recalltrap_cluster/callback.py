"""Tune's events, passed on to whoever watches the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from recalltrap.run.display import Display, Silent
from recalltrap_cluster.searcher import PackSearcher
from recalltrap_cluster.trainable import FAILED


def _nothing(trial_id: str) -> None:
    pass


class DisplayCallback(Callback):
    """Translates trials back into packs; `clear` is told of a trial that was lost."""

    def __init__(
        self,
        searcher: PackSearcher,
        display: Display,
        clear: Callable[[str], None] = _nothing,
    ) -> None:
        self.searcher = searcher
        self.display = display
        self.clear = clear
        self.broken: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore an experiment; nobody watches a restored one."""
        kept = {"searcher": self.searcher, "broken": self.broken}
        return {**kept, "display": Silent(), "clear": _nothing}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if FAILED in result:
            self.broken[trial.trial_id] = result[FAILED]
            trial.max_failures = 0  # only a lost worker is tried again
        else:
            self.display.progress(self.searcher.trials[trial.trial_id], result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.clear(trial.trial_id)
        row = {"stage": "worker lost, trying again", "step": 0, "steps": 0}
        self.display.progress(self.searcher.trials[trial.trial_id], row)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.display.finished(self.searcher.trials[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.clear(trial.trial_id)
        message = self.broken.get(trial.trial_id, "its worker was lost and no retries are left")
        self.display.failed(self.searcher.trials[trial.trial_id], message)
