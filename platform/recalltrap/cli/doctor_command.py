"""`recalltrap doctor`: looks before one runs."""

from __future__ import annotations

import click

from recalltrap.cli import completion as complete
from recalltrap.cli.guarded import guarded
from recalltrap.cli.options import ADDRESS, FORMAT, OVERRIDES, STORAGE
from recalltrap.cli.output import print_table, say


@click.command()
@click.argument("study", required=False, shell_complete=complete.complete_study)
@OVERRIDES
@STORAGE
@ADDRESS
@FORMAT
@guarded
def doctor(
    study: str | None,
    overrides: tuple[str, ...],
    storage: str | None,
    address: str,
    form: str,
) -> int:
    """Look at this machine and, if given, at STUDY: what could keep a run from working.

    One line per check: ok, warning or problem, and what to do. Exit status 1 where there is a
    problem. Nothing stays written, and Ray is not started.
    """
    from recalltrap.defaults import storage_location
    from recalltrap.errors import InputError
    from recalltrap.registry import room
    from recalltrap.store.storage import Storage
    from recalltrap.study.named_studies import load_study

    if overrides and study is None:
        raise InputError("-o overrides a study's fields, and no STUDY is given")
    loaded = None if study is None else load_study(study, overrides)
    root = Storage(storage_location(storage))
    findings = list(room("doctor")(loaded, root, address))
    print_table([finding.row() for finding in findings], form)
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        say(f"recalltrap: {problems} of {len(findings)} checks found a problem", error=True)
    return 1 if problems else 0


COMMANDS = (doctor,)
