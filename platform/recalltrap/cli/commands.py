"""What the commands print, as rows. The other rooms are reached late, through the registry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import pyarrow as pa

from recalltrap.cli.log_display import LogDisplay
from recalltrap.cli.output import print_exactly, print_table, say
from recalltrap.errors import InputError, shown
from recalltrap.logs.lines import LOG_VARIABLE
from recalltrap.registry import room
from recalltrap.results.notes import look_notes, unmeasured_notes, view_notes
from recalltrap.results.results import Results, open_run
from recalltrap.run.check import check
from recalltrap.run.display import ProgressTable
from recalltrap.run.run import run
from recalltrap.study.checks import parse_study
from recalltrap.study.named_studies import load_study, named_studies
from recalltrap.study.schema import study_schema
from recalltrap.study.study_file import read_study
from recalltrap.study.yaml_text import YamlError, read_yaml

Rows = list[dict[str, Any]]
MOST_ROWS = 10
"""Of a run's table on the terminal; the report has them all."""


def study_rows() -> Rows:
    """The named studies."""
    rows = []
    for named in named_studies().values():
        study = parse_study(*read_study(named.path))
        rows.append({"study": named.name, "cells": study.size, "question": study.question})
    return rows


def study_schema_text() -> str:
    return json.dumps(study_schema(), indent=2)


def status_notes(results: Results) -> list[str]:
    """What the counts don't tell: the look, finished cells that aren't shown, lacking values."""
    return [*look_notes(results), *view_notes(results), *unmeasured_notes(results)]


def answer_of(
    run: str, sql: str, storage: str | None, begin: Callable[[], None], limits: tuple[float, int]
) -> pa.Table:
    """The answer to a query within its seconds and megabytes; `begin` is called when they start.

    Nothing of the run outlives the call: DuckDB complains of connections that do.
    """
    results = open_run(run, storage)
    results.sql("select 1")  # reads the tables, which isn't the query's time
    if "effects" in sql.lower():
        results.table("effects")
    begin()
    seconds, megabytes = limits
    return results.sql(sql, seconds=seconds, megabytes=megabytes)


def report_text(runs: Sequence[str], location: str | None, form: str) -> str:
    """Write the report of the named runs; the path of its page, or what is for a pipe itself."""
    opened = [open_run(run, location) for run in runs]
    if form == "html":
        path: str = room("report")(*opened, form=form)
        return path
    texts: list[str] = []
    room("report")(*opened, form=form, tell=texts.append)
    return "".join(texts)


def grid_point(values: Sequence[str]) -> dict[str, Any]:
    """Axes and their values from `axis=value`, each value read as in a study file.

    Raises:
        InputError: no `=`, an axis twice, or a value that isn't YAML.
    """
    point: dict[str, Any] = {}
    for given in values:
        axis, equals, text = given.partition("=")
        if not equals or not axis:
            raise InputError(f"--at {shown(given)}: write it as axis=value, e.g. kl_weight=0.7")
        if axis in point:
            raise InputError(f"--at {shown(given)}: {axis} is given twice: give one value")
        try:
            point[axis] = read_yaml(text).content
        except YamlError as error:
            raise InputError(
                f"--at {shown(given)}: {shown(text)} is not a YAML value: {error.problem}"
            ) from None
    return point


def run_studies(
    names: Sequence[str],
    overrides: Sequence[str],
    location: str | None,
    address: str,
    local: bool,
    log: str,
) -> int:
    """Run studies one after another and conclude each; the worst of their exit statuses."""
    loaded = [load_study(name, overrides) for name in names]
    os.environ[LOG_VARIABLE] = log
    status = 0
    with nullcontext() if local or len(loaded) == 1 else room("session")(address):
        for study in loaded:
            shown = LogDisplay() if log == "json" else ProgressTable()
            results = run(study, storage=location, address=address, local=local, display=shown)
            status = max(status, conclude(results))
    return status


def check_text(
    name: str,
    overrides: Sequence[str],
    location: str | None,
    address: str,
    local: bool,
    form: str,
) -> None:
    """Check a study and say what was found, the sentence first."""
    found = check(
        name, overrides=overrides, storage=location, address=address, local=local,
        tell=partial(say, error=True),
    )  # fmt: skip
    if form == "json":
        print_exactly(found.json)
        return
    if form != "table":
        print_table(found.table(), form)
        return
    say(f"{found.sentence}\n")
    print_table(found.shown)
    say("")
    if found.shown.num_rows < found.points.num_rows:
        say(f"{found.shown.num_rows} of {found.points.num_rows} grid points; the page has all")
    for line in (*found.lines, found.cost_line):
        say(line)
    say(f"page: {found.page}")


def conclude(results: Results) -> int:
    """Write the report, print what to do, the verdict and the effects; the run's exit status.

    The report comes first: whatever becomes of the terminal, it stands.
    """
    report = results.report()
    verdict = results.verdict()
    rows = results.summary.table(most=MOST_ROWS).to_dict("records")
    say(f"{results.summary.recommendation.sentence}\n\n{verdict.sentence}\n")
    print_table(rows)
    say("")
    if more := len(results.summary.order_effect) - len(rows):
        points = "1 more grid point stands" if more == 1 else f"{more:,} more grid points stand"
        say(f"{points} in the report; these have the largest order effects of either sign")
    for note in (*verdict.notes, *look_notes(results), *view_notes(results)):
        say(f"note: {note}")
    say(f"report: {report}")
    return 1 if verdict.succeeded < verdict.planned else 0
