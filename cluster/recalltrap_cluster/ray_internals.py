"""All of Ray that may change without a word: private names, undocumented ones, its files and texts.

Seen with Ray 2.60. Nothing else in this project touches one, and `test_ray_internals.py` has a test
for each that says what an upgrade broke. Importing this imports Ray, so it's imported after
`recalltrap_cluster.joining.address` has said which cluster to join: Ray reads its token then.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pyarrow import fs
from ray._private import ray_constants
from ray.tune import ExperimentAnalysis, ResultGrid, TuneError
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS
from ray.util.client import ray as client

# --- Environment variables ------------------------------------------------------------------

SESSION_ENVIRONMENT = {
    # Ray Train replaces `print`; `datasets` then disassembles it to hash a function.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's new banner ignores verbose=0
    # Ray's processes write their titles over their environment, and a supervisor that looks for
    # its mark there wouldn't find them.
    "SPT_NOENV": "1",
    # A process that asked for no GPU keeps the CUDA_VISIBLE_DEVICES that it was given.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Of the process that starts or joins Ray, and of the processes that Ray starts."""

TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how late an end or a death is seen
    # An actor and its imports less per group. Nobody here could use the warning: a worker of a
    # node that goes away is a lost worker.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Of the process that drives a group of workers."""

LOOPBACK_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a `ray start` that listens on loopback alone, and of what joins it: see `loopback_only`."""

CLIENT_SERVER_ENVIRONMENT = {
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",  # for a busy machine
    # With it, every second server of a client died as it was forked, without a word.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}
"""Of a `ray start --head` that clients (`ray://`) join."""


def set_environment(variables: Mapping[str, str]) -> None:
    """Set variables where the user has set nothing else."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


# --- The session ----------------------------------------------------------------------------

HEAD_RESOURCES = {"node:__internal_head__": 0.001}
"""What a task asks for to run on the head: nodes come and go, the head stays."""


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


def is_client() -> bool:
    """Whether this process talks to a cluster through Ray's client (`ray://`)."""
    return bool(client.is_connected())  # type: ignore[no-untyped-call]


CLIENT_LOGGERS = ("ray.util.client", "ray.util.client.logsclient")
"""The second has a level of its own."""


def quiet_client() -> None:
    """Keep Ray's client from telling how it tries to reach a head that is lost: the supervisor
    says it. `logging_level` is the other side's there. After `ray.init`, which sets levels."""
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def say_ready(actor: Any) -> Any:
    """Ask an actor for a sign of life; a reference to nothing, which it keeps once it's alive."""
    return actor.__ray_ready__.remote()


# --- The Jobs API ---------------------------------------------------------------------------


JOB_ENVIRONMENT = {"RAY_JOB_STOP_WAIT_TIME_S": "15"}
"""Of a job: the seconds that a stopped one has to end its trials in, before Ray kills it."""
TALKING_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)  # fmt: skip
"""They raise themselves to INFO, and tell of every package and socket."""


def job_client(address: str, seconds: float) -> Any:
    """`ray.job_submission.JobSubmissionClient` whose requests end after some seconds.

    Ray's own waits for ever, follows RAY_ADDRESS rather than the address that it is given, and has
    no setting for either. Sending a package takes as long as it takes: each part of it counts.
    """
    from ray.job_submission import JobSubmissionClient

    for name in TALKING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)

    class BoundedClient(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **rest: Any) -> Any:
            return super()._do_request(method, endpoint, timeout=seconds, **rest)

    variable = ray_constants.RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE
    before = os.environ.get(variable)
    os.environ[variable] = address
    try:
        return BoundedClient(address)
    finally:
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before


# --- Tune's trials --------------------------------------------------------------------------


BOOKKEEPING = frozenset({*AUTO_RESULT_KEYS, "done", "trial_id"})
"""What Tune adds to every result."""


def never_retry(trial: Any) -> None:
    """Take back what `max_failures` promised a running trial: trying again would break again."""
    trial.max_failures = 0


def is_running(trial: Any) -> bool:
    """Whether Tune has given a trial its place."""
    return bool(trial.status == Trial.RUNNING)


def error_text(trial: Any) -> str | None:
    """The `error.txt` of a trial that Tune gave up on, "" without one; None for all others."""
    if trial.status != Trial.ERROR:
        return None
    return str(trial.get_error() or "")


def import_tensorboard() -> None:
    """Import what Tune writes TensorBoard's files with, without the 3 s that torch takes.

    tensorboardX wants torch for the sake of one type, and does without where there is none.
    """
    if "torch" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to say "not there"
    try:
        importlib.import_module("tensorboardX")
    finally:
        del sys.modules["torch"]


# --- Train's groups of workers --------------------------------------------------------------

UNUSED_CALLBACKS = ("PlacementGroupCleanerCallback", "DatasetsCallback")
"""Each starts an actor, a second of a core per group. The first frees what a dead run holds, needs
Ray's dashboard to see that it is dead and never ends without one: see `mailbox.free_placement`.
The second serves Ray Data."""


def lean_trainer() -> Any:
    """`ray.train.torch.TorchTrainer` without the callbacks of Ray's own that only cost time.

    There is no setting for it. A function, because the import takes torch along.
    """
    from ray.train.torch import TorchTrainer

    base: Any = TorchTrainer  # annotated as the trainer of Train's first version

    class LeanTrainer(base):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [each for each in callbacks if type(each).__name__ not in UNUSED_CALLBACKS]

    return LeanTrainer


def start_failures(minutes: float) -> Any:
    """For so long a group may wait for its places. Train waits a minute, and then for ever again:
    it counts that as an error of its own, which it doesn't limit."""
    from ray import train

    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(min(60.0, 60.0 * minutes))
    config: Any = train.FailureConfig
    return config(max_failures=0, controller_failure_limit=max(round(minutes) - 1, 0))


# --- What Ray says of a failure -------------------------------------------------------------

WORKER_LOST = re.compile(
    "ActorDiedError|ActorUnavailableError|The actor is dead|The actor died unexpectedly|"
    "The actor \\w+ is unavailable|The worker died unexpectedly"
)
NOT_SCHEDULED = re.compile("WorkerGroupStartup|Insufficient cluster resources|worker group startup")
_ATTEMPT, _ATTEMPT_TIME = "Failure # ", "(occurred at"


def last_attempt(text: str) -> str:
    """The last attempt's part of a trial's `error.txt`, without its heading.

    Tune adds each attempt's error to the file, under a line `Failure # 2 (occurred at ...)`.
    """
    heading, _, rest = text.rpartition(_ATTEMPT)[2].partition("\n")
    return (rest if _ATTEMPT_TIME in heading else text).strip()


# --- Tune's folder of an experiment ---------------------------------------------------------

CONFIG_FILE, RESULTS_FILE, ERROR_FILE = "params.json", "result.json", "error.txt"
"""A trial's files: its configuration, a line of JSON per result, the errors of its attempts."""
STATE_PREFIX = "experiment_state"
"""The experiment's files of this prefix hold the trials' states; the last one counts."""


def trial_statuses(state: bytes) -> dict[str, str]:
    """How the trials ended, by their ids, as a state of the experiment says it.

    Ray decodes pickles that stand in that file. Here it is plain JSON, of which two strings are
    taken; a file that isn't says nothing.
    """
    try:
        trials = [json.loads(trial) for trial, _ in json.loads(state)["trial_data"]]
        return {str(trial["trial_id"]): str(trial["status"]) for trial in trials}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


# --- Tune's views of recorded trials --------------------------------------------------------


@dataclass(frozen=True)
class TrialRecord:
    """What the plain files of a trial say: its configuration, results and last error.

    A trial that was tried again and ended well keeps the text of its first error.
    """

    id: str
    path: str
    config: Mapping[str, Any]
    status: str
    rows: Sequence[Mapping[str, Any]] = ()
    error: str | None = None


def make_record(
    id: str,
    path: str,
    config: Mapping[str, Any],
    status: str | None,
    rows: Sequence[Mapping[str, Any]],
    error: str | None,
) -> TrialRecord:
    """A trial's record; without a status, its results and its last error say how it ended."""
    if status is None:
        done = bool(rows and rows[-1].get("done"))
        status = Trial.TERMINATED if done else Trial.PENDING if error is None else Trial.ERROR
    if rows and status == Trial.TERMINATED:
        # Of a function, Tune learns that it is done after its last result was written.
        rows = [*rows[:-1], {**rows[-1], "done": True}]
    return TrialRecord(id, path, config, status, rows, error)


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


def wandb_callback(**options: Any) -> Any:
    """Ray's callback for W&B, whose actors get the key as an argument.

    Ray's own gives it to them as a variable of their runtime environment, which Ray writes into
    its logs (`runtime_env_agent.log`), key and all.
    """
    wandb = importlib.import_module("ray.air.integrations.wandb")
    variable = str(wandb.WANDB_ENV_VAR)

    class Actor(wandb._WandbLoggingActor):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, api_key: str | None = None, **kwargs: Any) -> None:
            if api_key is not None:
                os.environ[variable] = api_key
            super().__init__(*args, **kwargs)

    class Callback(wandb.WandbLoggerCallback):  # type: ignore[misc, name-defined]
        _logger_actor_cls = Actor

        def _start_logging_actor(self, trial: Any, exclude: Any, **kwargs: Any) -> None:
            api_key = os.environ.pop(variable, None)
            try:
                super()._start_logging_actor(trial, exclude, api_key=api_key, **kwargs)
            finally:
                if api_key is not None:
                    os.environ[variable] = api_key

    return Callback(**options)
