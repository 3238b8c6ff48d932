"""What a job runs, on the cluster's head: the study that came with it, told as a structured log."""

from __future__ import annotations

import json
import os
from pathlib import Path

from recalltrap.cli.commands import conclude
from recalltrap.cli.guarded import guarded
from recalltrap.cli.log_display import LogDisplay
from recalltrap.cli.output import listening
from recalltrap.errors import InputError
from recalltrap.logs.lines import LOG_VARIABLE
from recalltrap.run.run import run
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap.store.storage import Storage
from recalltrap.supervision.supervisor import go_on_supervised
from recalltrap_cluster.jobs.records import is_job
from recalltrap_cluster.jobs.shipment import STUDY_FILE
from recalltrap_cluster.jobs.submission import ASKED_FILE


def run_job() -> int:
    """Run the study in the working folder; the exit status of `recalltrap run`.

    Raises:
        InputError: the storage isn't the one that the submitting machine wrote to.
    """
    go_on_supervised()
    asked = json.loads(Path(ASKED_FILE).read_text(encoding="utf-8"))
    storage = Storage(asked["storage"])
    if not is_job(storage, asked["id"]):
        raise InputError(
            f"the storage {storage.shown} is not the one that the job was sent with: this machine "
            "doesn't find the job's record there. Give a folder that all machines share, mounted "
            "at the same path, or an object store"
        )
    os.environ[ARGV_VARIABLE] = asked["argv"]
    os.environ[LOG_VARIABLE] = "json"
    results = run(STUDY_FILE, storage=asked["storage"], address="auto", display=LogDisplay())
    return conclude(results)


if __name__ == "__main__":
    with listening():
        guarded(run_job)()
