"""Tune's events, passed on to whoever watches the run."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from recalltrap.display import Display, Silent
from recalltrap_cluster.searcher import PackSearcher


class DisplayCallback(Callback):
    """Translates trials back into packs."""

    def __init__(self, searcher: PackSearcher, display: Display) -> None:
        self.searcher = searcher
        self.display = display

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore an experiment; nobody watches a restored one."""
        return {"searcher": self.searcher, "display": Silent()}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.display.progress(self.searcher.trials[trial.trial_id], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.display.finished(self.searcher.trials[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        pack = self.searcher.trials[trial.trial_id]
        self.display.failed(pack, "its worker failed and will be tried again if retries are left")
