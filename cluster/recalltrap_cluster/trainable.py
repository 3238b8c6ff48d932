"""One pack as a Tune trial: a class trainable whose actor is reused for the next pack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from recalltrap.errors import is_storage_full, storage_full
from recalltrap.kind import Progress
from recalltrap.registry import find_kind
from recalltrap.run.context import RunContext
from recalltrap.run.execution import PackRun
from recalltrap.run.failures import classify
from recalltrap.run.plan import Pack
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap_cluster.storage.full_storage import recorded

REPORT_SECONDS = 0.5
"""Tune takes several ms for a result: chunks that end sooner are reported together."""
WAIT_SECONDS = 0.02
"""Between two looks for the marks, where a pack was handed out before its parents had ended."""
FAILED = "failed"
"""A result's field: what broke. It is recorded already, and trying again would break again."""

FULL = "storage_full"
"""A result's field: there is no room for the pack's results. Nothing of it is recorded, and no
other pack is begun."""


class PackTrainable(tune.Trainable):
    """Advances a pack chunk by chunk; every result carries means and sds over its seeds."""

    def setup(  # type: ignore[override]  # tune.with_parameters hands in the rest
        self,
        config: dict[str, Any],
        packs: dict[str, Pack],
        context: RunContext,
        marks: Path | None,
        argv: str,
    ) -> None:
        os.environ[ARGV_VARIABLE] = argv  # a worker that stood before the run knows nothing of it
        self.packs = packs
        self.context = context
        self.marks = marks
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.pack = self.packs[config["pack"]]
        self.steps: Iterator[Progress] = self._steps()
        self.error: Exception | None = None
        self.last: dict[str, Any] = {"stage": "", "step": 0, "steps": 0}

    def _steps(self) -> Iterator[Progress]:
        if not self._parents_ended():
            find_kind(self.context.kind).prepare()
        while not self._parents_ended():
            time.sleep(WAIT_SECONDS)
            yield Progress("waiting for shared stages", 0, 0)
        yield from PackRun(self.pack, self.context, self.trial_id).steps()

    def _parents_ended(self) -> bool:
        marks = self.marks
        return marks is None or all((marks / needed).exists() for needed in self.pack.needs)

    def step(self) -> dict[str, Any]:
        """Chunks for a while. A pack that breaks says so first, then raises: see `FAILED`."""
        if self.error is not None:
            raise self.error
        deadline = time.monotonic() + REPORT_SECONDS
        try:
            for progress in self.steps:
                row = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
                self.last = {**progress.metrics, **row}
                if time.monotonic() >= deadline:
                    return dict(self.last)
        except Exception as error:
            self.error = error
            if is_storage_full(error):
                return {**self.last, FULL: str(storage_full(error))}
            reason = classify(error)
            if (full := recorded(self.context, self.pack, reason, self.trial_id)) is not None:
                return {**self.last, FULL: full}
            return {**self.last, FAILED: reason[1]}
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
