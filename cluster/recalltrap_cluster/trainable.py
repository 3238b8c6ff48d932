"""One pack as a Tune trial: a class trainable whose actor is reused for the next pack."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ray import tune

from recalltrap.context import RunContext
from recalltrap.execution import PackRun
from recalltrap.kinds import Progress
from recalltrap.plan import Pack

REPORT_SECONDS = 0.5
"""Tune takes several ms for a result: chunks that end sooner are reported together."""


class PackTrainable(tune.Trainable):
    """Advances a pack chunk by chunk; every result carries means and sds over its seeds."""

    def setup(  # type: ignore[override]  # tune.with_parameters hands in the rest
        self, config: dict[str, Any], packs: dict[str, Pack], context: RunContext
    ) -> None:
        self.packs = packs
        self.context = context
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        work = PackRun(self.packs[config["pack"]], self.context, self.trial_id)
        self.steps: Iterator[Progress] = work.steps()
        self.last: dict[str, Any] = {"stage": "", "step": 0, "steps": 0}

    def step(self) -> dict[str, Any]:
        deadline = time.monotonic() + REPORT_SECONDS
        for progress in self.steps:
            row = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
            self.last = {**progress.metrics, **row}
            if time.monotonic() >= deadline:
                return dict(self.last)
        return {**self.last, "done": True}

    def cleanup(self) -> None:
        self._end()

    def _end(self) -> None:
        """Close the iterator, so that the locks it holds are let go."""
        close = getattr(self.steps, "close", None)
        if close is not None:
            close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A pack restarts from the artifacts in the store; there is nothing else to save."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `save_checkpoint`."""
