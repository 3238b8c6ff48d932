"""A job's log, told there and shown here."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_kind import KIND

from recalltrap.cli.log_display import LogDisplay
from recalltrap.run.display import ProgressTable
from recalltrap.run.plan import Plan, make_plan
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study
from recalltrap_cluster.jobs.watching import JobTable, Lines, parse_event


@pytest.fixture
def plan(study_file: Callable[..., str], storage: str) -> Plan:
    return make_plan(load_study(study_file()), KIND, ArtifactStore(Storage(storage)), ())


def tell(display: LogDisplay | ProgressTable, plan: Plan) -> None:
    display.begin(plan)
    for pack in plan.packs:
        display.progress(pack, {"stage": "align", "step": 5, "steps": 10, "reward_mean": 1.25})
    for pack in plan.packs[:-1]:
        display.finished(pack)
    display.failed(plan.packs[-1], "it broke\nlong story")
    display.end()


def test_the_table_of_a_job_says_what_that_of_a_run_says(plan: Plan) -> None:
    here, there, log = io.StringIO(), io.StringIO(), list[str]()
    tell(ProgressTable(here), plan)
    tell(LogDisplay(log.append), plan)
    said: list[str] = []
    table = JobTable(ProgressTable(there), said.append)
    for line in ["Running entrypoint", *log, "report: x"]:
        table.line(line)
    table.close()

    def steady(text: str) -> list[str]:
        return [line.rpartition(",")[0] or line for line in text.splitlines()]

    assert steady(there.getvalue()) == steady(here.getvalue())
    assert said == ["Running entrypoint", "report: x"]


def test_who_joins_late_or_sees_it_cut_is_shown_what_there_is(plan: Plan) -> None:
    stream, log = io.StringIO(), list[str]()
    tell(LogDisplay(log.append), plan)
    table = JobTable(ProgressTable(stream), lambda line: None)
    for line in log[1:-1]:  # nothing says how much there is
        table.line(line)
    table.close()
    assert stream.getvalue() == ""


@given(st.text(alphabet=st.sampled_from("ab\n"), max_size=40), st.integers(1, 5))
def test_lines_come_whole_however_the_text_is_cut(text: str, size: int) -> None:
    found: list[str] = []
    lines = Lines(found.append)
    for start in range(0, len(text), size):
        lines.feed(text[start : start + size])
    lines.end()
    assert found == (text.removesuffix("\n").split("\n") if text else [])


@pytest.mark.parametrize(
    "line", ["", "{", "{}", '{"event": "log"}', '{"event": []}', "[1]", "{" * 5000, "null"]
)
def test_other_lines_are_no_events(line: str) -> None:
    assert parse_event(line) is None
