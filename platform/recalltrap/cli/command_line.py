"""The command line. Each command parses, calls one function of the platform, and prints.

Exit status: 0 all cells succeeded, 1 some failed or stdout can't be written, 2 the input was
refused, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.output import listening, print_exactly, print_table, say
from recalltrap.cli.render import FORMATS
from recalltrap.cli.watched import go_on_watched
from recalltrap.errors import InputError, RecalltrapError

Command = Callable[..., int | None]
REPORTS = ("html", "markdown", "json")


def _guarded(command: Command) -> Command:
    """Turn what a user can cause into a message and an exit status, never a traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        sys.exit(_status(command, *args, **kwargs))

    return guarded


def _status(command: Command, *args: Any, **kwargs: Any) -> int:
    """Run a command; its exit status, with the reason on stderr where it isn't the command's."""
    try:
        return command(*args, **kwargs) or 0
    except InputError as error:
        say(f"recalltrap: {error}", error=True)
        return 2
    except RecalltrapError as error:
        say(f"recalltrap: {error}", error=True)
        return 1
    except KeyboardInterrupt:
        say(
            "recalltrap: interrupted; finished work is kept, and running the same command "
            "again does the rest",
            error=True,
        )
        return 130


STUDY = click.argument("study", shell_complete=complete.complete_study)
RUN = click.argument("run", shell_complete=complete.complete_run)
STORAGE = click.option(
    "--storage",
    metavar="DIR",
    shell_complete=complete.complete_folder,
    help="Folder or URI for results [default: $RECALLTRAP_STORAGE, else runs].",
)
OVERRIDES = click.option(
    "-o",
    "overrides",
    multiple=True,
    metavar="K=V",
    shell_complete=complete.complete_override,
    help="Override a field of the study, e.g. settings.iterations=9.",
)
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), default="table")
ADDRESS = click.option(
    "--address",
    default="local",
    help="Ray cluster: local (start one here), auto, or ray://host:port.",
)


class _Listened(click.Group):
    """A group whose commands, help texts included, speak through `listening`."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with listening() as out:
            try:
                return super().main(*args, **kwargs)
            except SystemExit as left:
                out.flush()
                if out.lost is None:
                    raise
                reason = out.lost.strerror
                say(f"recalltrap: the output could not be written: {reason}", error=True)
                sys.exit(left.code or 1)


@click.group(
    cls=_Listened,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="recalltrap")
def main() -> None:
    """Controlled studies of when to align: before or after distilling."""


@main.command()
@FORMAT
@click.option("--schema", is_flag=True, help="Print the JSON schema of study files instead.")
@_guarded
def studies(form: str, schema: bool) -> None:
    """List the named studies."""
    from recalltrap.cli.commands import study_rows, study_schema_text

    if schema:
        print_exactly(study_schema_text())
        return
    print_table(study_rows(), form)


@main.command()
@click.argument("name")
@click.option(
    "--kind",
    default="llm",
    show_default=True,
    shell_complete=complete.complete_kind,
    help="What is studied: language models (llm) or mixtures of Gaussians (mog).",
)
@_guarded
def new(name: str, kind: str) -> None:
    """Write a study file to start from, NAME.yaml, with a comment at every line.

    For language models it is for models of your own. A file that is there is never overwritten.
    """
    from recalltrap.study.own_study import write_own_study

    path = write_own_study(name, kind)
    say(
        f"wrote {path}: edit it, then `recalltrap check {path}` (before you spend) and "
        f"`recalltrap run {path}`"
    )


@main.command()
@STUDY
@OVERRIDES
@_guarded
def show(study: str, overrides: tuple[str, ...]) -> None:
    """Print STUDY as a file, as it would run with these overrides.

    What a study leaves out has its default: `recalltrap studies --schema` says which. Written into
    a file, it is the same study.
    """
    from recalltrap.study.named_studies import load_study

    print_exactly(load_study(study, overrides).to_yaml())


@main.command()
@STUDY
@OVERRIDES
@STORAGE
@FORMAT
@_guarded
def plan(study: str, overrides: tuple[str, ...], storage: str | None, form: str) -> None:
    """Show what running STUDY would do: cells, stages, time, disk. Nothing is written."""
    from recalltrap.run import study_plan

    found = study_plan.plan(study, overrides=overrides, storage=storage)
    print_table(found.rows(), form)


@main.command()
@click.argument(
    "studies",
    nargs=-1,
    required=True,
    metavar="STUDY...",
    shell_complete=complete.complete_study,
)
@OVERRIDES
@STORAGE
@ADDRESS
@click.option("--local", is_flag=True, help="Run everything in this process, without Ray.")
@_guarded
def run(
    studies: tuple[str, ...],
    overrides: tuple[str, ...],
    storage: str | None,
    address: str,
    local: bool,
) -> int:
    """Run each STUDY's missing cells, write the report, print the verdict and the order effects.

    STUDY is a named study or a YAML file. Several run one after another in one Ray session;
    all are checked before any starts.
    """
    from recalltrap.cli.commands import run_studies

    return run_studies(studies, overrides, storage, address, local)


@main.command()
@RUN
@STORAGE
@FORMAT
@_guarded
def status(run: str, storage: str | None, form: str) -> None:
    """Show the progress of RUN: planned, succeeded, failed and missing cells.

    RUN is a study's name or a run's folder.
    """
    from recalltrap.cli.commands import status_notes
    from recalltrap.results.results import open_run

    results = open_run(run, storage)
    print_table(results.status().to_dict("records"), form)
    for note in status_notes(results):
        say(f"note: {note}", error=True)


@main.command()
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
@_guarded
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


@main.command()
@click.argument(
    "runs",
    metavar="RUN [RUN ...]",
    nargs=-1,
    required=True,
    shell_complete=complete.complete_run,
)
@STORAGE
@click.option("--format", "form", type=click.Choice(REPORTS), default="html")
@_guarded
def report(runs: tuple[str, ...], storage: str | None, form: str) -> None:
    """Write the report of one run, or one report of several runs.

    Prints the path of the HTML page; Markdown and JSON are printed to stdout.
    """
    from recalltrap.cli.commands import report_text

    print_exactly(report_text(runs, storage, form))


@main.command()
@STUDY
@OVERRIDES
@STORAGE
@FORMAT
@_guarded
def forecast(study: str, overrides: tuple[str, ...], storage: str | None, form: str) -> None:
    """Forecast the anchor part of STUDY from p' and p'' alone, before any alignment.

    That is how much more alignment can attain anchored to p' than to p'', not the order effect:
    A-K's last distillation is left out. JSON and CSV have every grid point and column.
    """
    from recalltrap.run import forecast as forecasts

    found = forecasts.forecast(
        study, overrides=overrides, storage=storage, tell=partial(say, error=True)
    )
    if form != "table":
        print_table(found.table(), form)
        return
    for line in found.lines:
        say(line)
    print_table(found.shown)
    if found.shown.num_rows < found.points.num_rows:
        say(f"{found.shown.num_rows} of {found.points.num_rows} grid points; --format json has all")


@main.command()
@STUDY
@OVERRIDES
@STORAGE
@ADDRESS
@click.option("--local", is_flag=True, help="Build everything in this process, without Ray.")
@FORMAT
@_guarded
def check(
    study: str,
    overrides: tuple[str, ...],
    storage: str | None,
    address: str,
    local: bool,
    form: str,
) -> None:
    """Check STUDY before you spend on it: from p', p'' and the reward, no alignment.

    Says in one sentence whether to keep p' as the reference, and where p'' practically never gives
    a good response. Writes a page with the figures; JSON has all of it, CSV every grid point.
    """
    from recalltrap.cli.commands import check_text

    check_text(study, overrides, storage, address, local, form)


@main.command()
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
@_guarded
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


@main.command()
@click.argument("shell", type=click.Choice(complete.SHELLS))
@_guarded
def completion(shell: str) -> None:
    """Print the script that completes commands, studies, runs and fields in SHELL.

    bash: `eval "$(recalltrap completion bash)"` in ~/.bashrc. zsh: the same in ~/.zshrc, after
    compinit. fish: `recalltrap completion fish > ~/.config/fish/completions/recalltrap.fish`.
    """
    print_exactly(complete.script(shell, main))


if __name__ == "__main__":
    main()
