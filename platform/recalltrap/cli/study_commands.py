"""The commands that begin with a study: what there is, what it would do, doing it."""

from __future__ import annotations

from functools import partial

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.guarded import guarded
from recalltrap.cli.options import ADDRESS, FORMAT, OVERRIDES, STORAGE, STUDY
from recalltrap.cli.output import print_exactly, print_table, say, speaks_for_process
from recalltrap.logs.lines import FORMS, LOG_VARIABLE


@click.command()
@FORMAT
@click.option("--schema", is_flag=True, help="Print the JSON schema of study files instead.")
@guarded
def studies(form: str, schema: bool) -> None:
    """List the named studies."""
    from recalltrap.cli.commands import study_rows, study_schema_text

    if schema:
        print_exactly(study_schema_text())
        return
    print_table(study_rows(), form)


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    default="llm",
    show_default=True,
    shell_complete=complete.complete_kind,
    help="What is studied: language models (llm) or mixtures of Gaussians (mog).",
)
@guarded
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


@click.command()
@STUDY
@OVERRIDES
@guarded
def show(study: str, overrides: tuple[str, ...]) -> None:
    """Print STUDY as a file, as it would run with these overrides.

    What a study leaves out has its default: `recalltrap studies --schema` says which. Written into
    a file, it is the same study.
    """
    from recalltrap.study.named_studies import load_study

    print_exactly(load_study(study, overrides).to_yaml())


@click.command()
@STUDY
@OVERRIDES
@STORAGE
@click.option(
    "--address",
    default="local",
    help="Where it shall run: local (this machine), or a Ray cluster, whose nodes are looked at.",
)
@FORMAT
@guarded
def plan(
    study: str, overrides: tuple[str, ...], storage: str | None, address: str, form: str
) -> int:
    """Show what running STUDY would do: cells, stages, time, disk. Nothing is written.

    Exit status 2 where its trials could never run there, with what is missing and what would fit.
    """
    from recalltrap.run import study_plan

    found = study_plan.plan(study, overrides=overrides, storage=storage, address=address)
    print_table(found.rows(), form)
    if found.shortfall:
        say(f"recalltrap: {found.shortfall}", error=True)
    return 2 if found.shortfall else 0


@click.command()
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
@click.option(
    "--log",
    type=click.Choice(FORMS),
    envvar=LOG_VARIABLE,
    default=FORMS[0],
    show_default=True,
    help="Progress as a table, or as a line of JSON per event; also of what workers log.",
)
@guarded
def run(
    studies: tuple[str, ...],
    overrides: tuple[str, ...],
    storage: str | None,
    address: str,
    local: bool,
    log: str,
) -> int:
    """Run each STUDY's missing cells, write the report, print the verdict and the order effects.

    STUDY is a named study or a YAML file. Several run one after another in one Ray session;
    all are checked before any starts.
    """
    _supervised(local)
    from recalltrap.cli.commands import run_studies

    return run_studies(studies, overrides, storage, address, local, log)


@click.command()
@STUDY
@OVERRIDES
@STORAGE
@FORMAT
@guarded
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


@click.command()
@STUDY
@OVERRIDES
@STORAGE
@ADDRESS
@click.option("--local", is_flag=True, help="Build everything in this process, without Ray.")
@FORMAT
@guarded
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
    _supervised(local)
    from recalltrap.cli.commands import check_text

    check_text(study, overrides, storage, address, local, form)


def _supervised(local: bool) -> None:
    """Go on in a process that is watched, where Ray has a part in it."""
    from recalltrap.supervision.supervisor import go_on_supervised

    if not local and speaks_for_process():
        go_on_supervised()


COMMANDS = (studies, new, show, plan, run, forecast, check)
