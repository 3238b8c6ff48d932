"""Tune's events, passed on to whoever watches the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Callback, ProgressReporter

from recalltrap.run.display import Display, Silent
from recalltrap_cluster.ray_internals import BOOKKEEPING, never_retry
from recalltrap_cluster.searcher import PackSearcher
from recalltrap_cluster.trainable import FAILED, FULL


class NoReport(ProgressReporter):
    """In the place of Tune's own, which in a notebook clears the cell that our progress is in."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: str) -> None:
        raise AssertionError("nothing is to be reported")


def _ignore(trial_id: str) -> None:
    pass


class DisplayCallback(Callback):
    """Translates trials back into packs; `on_lost` is told of a trial that was lost.

    `broken` has what trials said that broke; `full` what the first one said that found no room.
    """

    def __init__(
        self,
        searcher: PackSearcher,
        display: Display,
        on_lost: Callable[[str], None] = _ignore,
    ) -> None:
        self.searcher = searcher
        self.display = display
        self.on_lost = on_lost
        self.broken: dict[str, str] = {}
        self.full: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore an experiment; nobody watches a restored one."""
        nobody = {"display": Silent(), "on_lost": _ignore}
        return {**self.__dict__, **nobody}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if FULL in result:
            self.full = result[FULL]
            self.searcher.waiting.clear()  # the others would find no room either
            never_retry(trial)
        elif FAILED in result:
            self.broken[trial.trial_id] = result[FAILED]
            never_retry(trial)  # only a lost worker is tried again
        else:
            row = {name: value for name, value in result.items() if name not in BOOKKEEPING}
            self.display.progress(self.searcher.trials[trial.trial_id], row)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_lost(trial.trial_id)
        row = {"stage": "worker lost, trying again", "step": 0, "steps": 0}
        self.display.progress(self.searcher.trials[trial.trial_id], row)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.display.finished(self.searcher.trials[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_lost(trial.trial_id)
        if self.full is not None:
            return
        message = self.broken.get(trial.trial_id, "its worker was lost and no retries are left")
        self.display.failed(self.searcher.trials[trial.trial_id], message)


HOOKS = (
    "setup", "on_step_begin", "on_step_end", "on_trial_start", "on_trial_restore", "on_trial_save",
    "on_trial_result", "on_trial_complete", "on_trial_recover", "on_trial_error", "on_checkpoint",
    "on_experiment_end",
)  # fmt: skip
"""What Tune tells its callbacks."""


class Tolerated(Callback):
    """A tracker's callback. Where it fails (no key, no server), that is told once, and the run goes
    on without it."""

    def __init__(self, name: str, make: Callable[[], Any], tell: Callable[[str], None]) -> None:
        self.name = name
        self.tell = tell
        self.callback: Any = None
        self._try(lambda: setattr(self, "callback", make()))

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore an experiment; nobody restores one."""
        return {"name": self.name, "tell": _ignore, "callback": None}

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # each tracker has its own
            self.callback = None
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.tell(f"{self.name}: {said}; the run goes on without it")


def _passed_on(hook: str) -> Callable[..., None]:
    def call(self: Tolerated, *args: Any, **info: Any) -> None:
        if self.callback is not None:
            self._try(lambda: getattr(self.callback, hook)(*args, **info))

    return call


for _hook in HOOKS:
    setattr(Tolerated, _hook, _passed_on(_hook))
