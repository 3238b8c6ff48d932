"""Structured logs: every line is JSON and says which cells it is about."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from toy_kind import KIND

import recalltrap as rt
from recalltrap.cli.log_display import LogDisplay
from recalltrap.errors import InputError
from recalltrap.logs.cell_logging import LOGGER, logging_about
from recalltrap.logs.lines import LOG_VARIABLE, MOST_CELLS, json_wanted, log_line, named_cells
from recalltrap.run.plan import Plan, make_plan
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study


@pytest.fixture
def plan(study_file: Callable[..., str], storage: str) -> Plan:
    return make_plan(load_study(study_file()), KIND, ArtifactStore(Storage(storage)), ())


def told(plan: Plan) -> list[dict[str, Any]]:
    lines: list[str] = []
    display = LogDisplay(lines.append)
    display.begin(plan)
    for pack in plan.packs:
        for step in (1, 2):
            display.progress(pack, {"stage": "align", "step": step, "steps": 2, "x": [1]})
        display.progress(pack, {"stage": "distill", "step": 1, "steps": 1})
        display.finished(pack)
    display.failed(plan.packs[0], "s3://key:hunter2@bucket is gone")
    display.end()
    return [json.loads(line) for line in lines]


def test_every_line_names_its_cells(plan: Plan) -> None:
    first, *events, last = told(plan)
    assert (first["event"], first["to_do"], last["event"]) == ("begin", len(plan.todo), "end")
    by_pack = {pack.id: pack for pack in plan.packs}
    for event in events:
        own = {cell.id for cell in by_pack[event["pack"]].cells}
        assert event["cells"]
        assert event["shared"] == (not own)
        if own:
            assert set(event["cells"]) == own
    shared = [event for event in events if event["shared"]]
    assert {cell for event in shared for cell in event["cells"]} == {c.id for c in plan.todo}


def test_a_stage_is_told_once_in_a_while_and_no_secret_is(plan: Plan) -> None:
    events = told(plan)
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["stage"] for event in progress] == ["align", "distill"] * len(plan.packs)
    assert "x" not in progress[0]
    failed = next(event for event in events if event["event"] == "failed")
    assert "hunter2" not in failed["message"]
    assert "bucket" in failed["message"]


def test_many_cells_are_counted() -> None:
    ids = [f"c{n}" for n in range(MOST_CELLS + 1)]
    assert named_cells(ids[:-1]) == {"cells": ids[:-1]}
    assert named_cells(ids) == {"cells": ids[:-1], "cells_in_all": len(ids)}


def test_what_libraries_log_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("somebody.s.library")
    own = logging.StreamHandler(sys.stderr)
    library.addHandler(own)
    library.propagate = False
    try:
        with logging_about({"cells": ["one"]}):
            library.warning("token=%s is late", "hunter2")
            LOGGER.info("two\nlines")
            try:
                raise ValueError("broken")
            except ValueError:
                library.exception("it failed")
        library.warning("plain again")
    finally:
        library.removeHandler(own)
    *lines, plain = capsys.readouterr().err.splitlines()
    assert plain == "plain again"
    found = [json.loads(line) for line in lines]
    assert [line["cells"] for line in found] == [["one"]] * 3
    assert "hunter2" not in lines[0]
    assert found[1]["message"] == "two\nlines"
    assert found[2]["message"].startswith("it failed\nTraceback")
    assert found[2]["message"].endswith("ValueError: broken")


def test_a_run_logs_what_it_builds_with_its_cells(
    study_file: Callable[..., str], storage: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(LOG_VARIABLE, "json")
    results = rt.run(study_file(seeds=1), storage=storage, local=True)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ids = set(results.table("cells")["cell_id"].to_pylist())
    assert {cell for line in lines for cell in line["cells"]} == ids
    assert all(line["cells"] or line["artifacts"] for line in lines)
    assert {"building sft", "building align"} <= {line["message"].split(":")[0] for line in lines}


def test_the_environment_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, wanted in (("json", True), ("table", False), ("", False)):
        monkeypatch.setenv(LOG_VARIABLE, value)
        assert json_wanted() is wanted
    monkeypatch.setenv(LOG_VARIABLE, "yaml")
    with pytest.raises(InputError, match="RECALLTRAP_LOG = 'yaml'"):
        json_wanted()


def test_a_line_is_one_line_and_has_its_time() -> None:
    line = log_line("log", message="a\nb")
    assert "\n" not in line
    assert json.loads(line)["time"].endswith("+00:00")
