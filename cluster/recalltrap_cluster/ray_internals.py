"""The one file that touches Ray's private names. Seen with Ray 2.60."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pyarrow import fs
from ray._private import ray_constants
from ray.tune import ExperimentAnalysis, ResultGrid, TuneError
from ray.tune.experiment import Trial


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """A Ray that is started meanwhile listens on this machine's loopback address alone.

    It asks for this machine's address and binds every server to all interfaces unless the answer
    is loopback's. `ray.init(_node_ip_address="127.0.0.1")` doesn't help: Ray replaces it. On macOS
    and Windows the answer is loopback's by default, and this is the constant that says so.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@dataclass(frozen=True)
class TrialRecord:
    """What the plain files of a trial say: its configuration, results and last error."""

    id: str
    path: str
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    error: str | None = None

    @property
    def status(self) -> str:
        """A trial that was tried again and ended well keeps the text of its first error."""
        if self.rows and self.rows[-1].get("done"):
            return str(Trial.TERMINATED)
        return str(Trial.PENDING if self.error is None else Trial.ERROR)


class _RecordedTrial(Trial):
    """A trial made from its record: there is nothing to load, and nothing is unpickled."""

    def __init__(self, record: TrialRecord) -> None:
        super().__init__("pack", config=dict(record.config), trial_id=record.id, stub=True,
                         trial_name_creator=lambda trial: record.id)  # fmt: skip
        self.record = record
        self.set_status(record.status)  # type: ignore[no-untyped-call]
        start = {"config": dict(record.config), "trial_id": record.id}
        for row in record.rows or ({},):
            self.update_last_result({**start, **row})  # type: ignore[no-untyped-call]

    @property
    def path(self) -> str:
        return self.record.path

    def get_pickled_error(self) -> None:
        """A pickled error is never loaded: it would run whatever stands in it."""

    def get_error(self) -> TuneError | None:
        return None if self.record.error is None else TuneError(self.record.error)


class _RecordedAnalysis(ExperimentAnalysis):
    """Tune's analysis over records. Its own reader decodes pickles that stand in a JSON file."""

    def __init__(
        self, path: str, filesystem: fs.FileSystem, records: Sequence[TrialRecord]
    ) -> None:
        self.records = records
        # A path of a file, for Ray looks for one in a folder; it isn't opened.
        super().__init__(f"{path}/unread.json", storage_filesystem=filesystem)

    def _load_trials(self) -> list[Trial]:
        return [_RecordedTrial(record) for record in self.records]

    def _fetch_trial_dataframe(self, trial: Trial) -> pd.DataFrame:
        assert isinstance(trial, _RecordedTrial)
        return pd.json_normalize([dict(row) for row in trial.record.rows], sep="/")


def recorded_grid(
    path: str, filesystem: fs.FileSystem, records: Sequence[TrialRecord]
) -> ResultGrid:
    """Tune's own view of some trials, in the order of their records."""
    return ResultGrid(_RecordedAnalysis(path, filesystem, records))
