"""Sending a study to a cluster as a job."""

from __future__ import annotations

import json
import os
import re
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recalltrap.defaults import storage_location
from recalltrap.errors import InputError
from recalltrap.results.results import run_folder
from recalltrap.run.plan import Plan
from recalltrap.run.run import check_place, plan_study
from recalltrap.store.provenance import ARGV_VARIABLE, pass_on_argv
from recalltrap.store.storage import Storage
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study
from recalltrap_cluster.jobs.client import Jobs, runtime_environment
from recalltrap_cluster.jobs.records import JobRecord, all_records, write_record
from recalltrap_cluster.jobs.shipment import pack_study
from recalltrap_cluster.jobs.wheel import build_wheel
from recalltrap_cluster.joining.address import is_sent_openly
from recalltrap_cluster.trackers import TRACKERS_VARIABLE

ENTRYPOINT = "python -m recalltrap_cluster.jobs.entry"
"""All that the command line says: what is asked for travels in a file."""
ASKED_FILE = "job.json"
PASSED_ON = ("RECALLTRAP_DEVICE", "RECALLTRAP_COMPILE", TRACKERS_VARIABLE)


@dataclass(frozen=True)
class Sent:
    """A job that was sent; None where there was nothing to do."""

    study: str
    record: JobRecord | None
    notes: tuple[str, ...] = ()


def submit(name: str, overrides: Sequence[str], location: str | None, address: str) -> Sent:
    """Send what a study misses to a cluster.

    Everything is checked here first, with the storage as it is; the job checks again there.

    Raises:
        InputError: anything wrong with the study, the storage, the files or the address; or a job
            that runs the same study is still active there. Nothing was sent.
    """
    study = load_study(name, overrides)
    storage = Storage(storage_location(location))
    storage.check_usable()
    plan = plan_study(study, storage)
    check_place(plan, here=False)
    if not plan.packs:
        return Sent(study.name, None)
    jobs = Jobs(address)
    _check_none_active(study, storage, jobs)
    with tempfile.TemporaryDirectory(prefix="recalltrap-") as scratch:
        folder = Path(scratch, "work")
        folder.mkdir()
        pack_study(study, plan.cells, storage, folder)
        record = _new_record(study, jobs.address)
        pass_on_argv()
        argv = os.environ[ARGV_VARIABLE]  # it may name the storage: in no variable of the job's
        asked = {"id": record.id, "storage": storage.location, "argv": argv}
        (folder / ASKED_FILE).write_text(json.dumps(asked), encoding="utf-8")
        wheel = build_wheel(Path(scratch))
        storage.prepare()
        write_record(storage, record)
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        jobs.submit(
            record.id,
            ENTRYPOINT,
            runtime_environment(folder, wheel, variables),
            {"study": study.name, "version": wheel.name.split("-")[1]},
        )
    return Sent(study.name, record, _notes(plan, jobs.address))


def _new_record(study: Study, address: str) -> JobRecord:
    now = datetime.now(UTC)
    slug = re.sub(r"[^a-z0-9]+", "-", study.name.lower()).strip("-")[:60] or "study"
    job = f"{slug}-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    return JobRecord(job, study.name, run_folder(study.name), address, now.isoformat())


def _check_none_active(study: Study, storage: Storage, jobs: Jobs) -> None:
    """Refuse a second job for a study whose last one is at it."""
    sent = [record for record in all_records(storage) if record.study == study.name]
    if not sent or sent[-1].address != jobs.address:
        return
    state = jobs.state(sent[-1].id)
    if state is not None and state.active:
        raise InputError(
            f"the job {sent[-1].id} runs {study.name} already ({state.state.lower()}): "
            f"`recalltrap logs {sent[-1].id} --follow` shows it, `recalltrap stop {sent[-1].id}` "
            "ends it"
        )


def _notes(plan: Plan, address: str) -> tuple[str, ...]:
    openly = (
        "http sends the token so that it can be read on the way: use https, or a tunnel "
        "(ssh -L 8265:127.0.0.1:8265 HEAD, then --address http://127.0.0.1:8265)"
    )
    return (*plan.notes, *([openly] if is_sent_openly(address) else []))
