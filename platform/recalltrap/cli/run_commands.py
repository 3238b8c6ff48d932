"""The commands that read a run: how far it is, its tables, its report, its models."""

from __future__ import annotations

from functools import partial

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.guarded import guarded
from recalltrap.cli.options import FORMAT, JOB_ADDRESS, RUN, STORAGE
from recalltrap.cli.output import print_exactly, print_table, say
from recalltrap.cli.watched import go_on_watched

REPORTS = ("html", "markdown", "json")


@click.command()
@RUN
@STORAGE
@JOB_ADDRESS
@click.option("--follow", is_flag=True, help="Show a job's progress until it ends.")
@FORMAT
@guarded
def status(run: str, storage: str | None, address: str | None, follow: bool, form: str) -> int:
    """Show the progress of RUN: planned, succeeded, failed and missing cells.

    RUN is a study's name, a run's folder, or a job's id: its cluster is asked then how it is.
    """
    from recalltrap.cli.commands import status_notes
    from recalltrap.cli.jobs import follow_job, is_job, job_notes, job_rows
    from recalltrap.results.results import open_run

    if follow:
        return follow_job(run, storage, address, log=False)
    if is_job(run, storage):
        print_table(job_rows(run, storage, address), form)
        return 0
    results = open_run(run, storage)
    print_table(results.status().to_dict("records"), form)
    for note in (*status_notes(results), *job_notes(results)):
        say(f"note: {note}", error=True)
    return 0


@click.command()
@RUN
@click.argument("sql")
@STORAGE
@FORMAT
@click.option(
    "--time-limit",
    "seconds",
    type=click.FloatRange(min=0.1, max=86_400),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the query may run.",
)
@click.option(
    "--memory-limit",
    "megabytes",
    type=click.IntRange(min=10, max=10_000_000),
    default=400,
    show_default=True,
    metavar="MB",
    help="How much memory it and its answer may take.",
)
@guarded
def query(
    run: str, sql: str, storage: str | None, form: str, seconds: float, megabytes: int
) -> None:
    """Query RUN's tables in SQL: cells, metrics, curves, costs, failures, planned, effects.

    NaN and infinity are null in JSON, which has neither, and nan and inf in CSV.
    """
    begin = go_on_watched(seconds, megabytes, partial(_over_its_limit, seconds, megabytes))
    from recalltrap.cli.commands import answer_of

    print_table(answer_of(run, sql, storage, begin, (seconds, megabytes)), form)


def _over_its_limit(seconds: float, megabytes: int, limit: str) -> str:
    from recalltrap.results.sql import Limits

    limits = Limits(seconds, megabytes)
    return str(limits.too_long() if limit == "time" else limits.too_much())


@click.command()
@click.argument(
    "runs",
    metavar="RUN [RUN ...]",
    nargs=-1,
    required=True,
    shell_complete=complete.complete_run,
)
@STORAGE
@click.option("--format", "form", type=click.Choice(REPORTS), default="html")
@guarded
def report(runs: tuple[str, ...], storage: str | None, form: str) -> None:
    """Write the report of one run, or one report of several runs; RUN may be a job's id.

    Prints the path of the HTML page; Markdown and JSON are printed to stdout.
    """
    from recalltrap.cli.commands import report_text
    from recalltrap.cli.jobs import run_of

    named = [run_of(run, storage) for run in runs]
    print_exactly(report_text(named, storage, form))


@click.command()
@RUN
@click.argument("ordering", shell_complete=complete.complete_ordering)
@click.argument("seed", type=int, shell_complete=complete.complete_seed)
@click.argument("folder", metavar="DIR", shell_complete=complete.complete_folder)
@click.option(
    "--at",
    "at",
    multiple=True,
    metavar="AXIS=VALUE",
    shell_complete=complete.complete_point,
    help="Which grid point, e.g. kl_weight=0.7; needed for every axis of several values.",
)
@STORAGE
@guarded
def export(
    run: str, ordering: str, seed: int, folder: str, at: tuple[str, ...], storage: str | None
) -> None:
    """Copy the final model of RUN's ORDERING and SEED into DIR, in the hub's format.

    A model card (README.md) beside it says how it was made. DIR must be empty or not there yet.
    Nothing is uploaded.
    """
    from recalltrap.cli.commands import grid_point
    from recalltrap.results.results import open_run

    results = open_run(run, storage)
    say(f"exported to {results.export(ordering, seed, folder, **grid_point(at))}")


COMMANDS = (status, query, report, export)
