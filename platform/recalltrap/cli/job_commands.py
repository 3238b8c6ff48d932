"""The commands for a study that runs as a job of a cluster: send it, follow it, end it."""

from __future__ import annotations

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.guarded import guarded
from recalltrap.cli.options import JOB_ADDRESS, OVERRIDES, STORAGE, STUDY
from recalltrap.cli.output import print_exactly, say

JOB = click.argument("job", metavar="JOB", shell_complete=complete.complete_job)
FOLLOW = "Stay until the job ends, and exit as it does; Ctrl-C leaves it running."


@click.command()
@STUDY
@OVERRIDES
@STORAGE
@click.option(
    "--address",
    required=True,
    metavar="URL",
    help="The head's dashboard, http(s)://host:8265; beyond this machine only with a token set.",
)
@click.option("--follow", is_flag=True, help=f"Show the progress. {FOLLOW}")
@guarded
def submit(
    study: str, overrides: tuple[str, ...], storage: str | None, address: str, follow: bool
) -> int:
    """Send STUDY to a Ray cluster as a job, with this code and the files that it names.

    The storage must be a folder that all machines share at the same path, or an object store:
    `recalltrap status`, `logs`, `stop` and `report` find the job in it.
    """
    from recalltrap.cli.jobs import follow_job, submit_study

    job = submit_study(study, overrides, storage, address)
    return follow_job(job, storage, None, log=False) if follow and job else 0


@click.command()
@JOB
@STORAGE
@JOB_ADDRESS
@click.option("--follow", is_flag=True, help=FOLLOW)
@guarded
def logs(job: str, storage: str | None, address: str | None, follow: bool) -> int:
    """Print what JOB has said: a line of JSON per event, with the ids of its cells.

    JOB is a job's id, or its study's name: the last job then.
    """
    from recalltrap.cli.jobs import follow_job, job_named

    if follow:
        return follow_job(job, storage, address, log=True)
    print_exactly(job_named(job, storage, address).logs())
    return 0


@click.command()
@JOB
@STORAGE
@JOB_ADDRESS
@guarded
def stop(job: str, storage: str | None, address: str | None) -> None:
    """End JOB. What it has finished is kept, and submitting its study again does the rest.

    JOB is a job's id, or its study's name: the last job then.
    """
    from recalltrap.cli.jobs import job_named

    found = job_named(job, storage, address)
    if found.stop():
        say(f"stopping {found.record.id}; finished work is kept")
    else:
        say(f"{found.record.id} has ended already ({found.state().state.lower()})")


COMMANDS = (submit, logs, stop)
