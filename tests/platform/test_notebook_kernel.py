"""A notebook in a real kernel: what a reader of it sees below each cell.

Needs `ipykernel`, which the project doesn't: `pip install ipykernel` beside it, and these run.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="there is no Jupyter kernel here: pip install ipykernel")
manager = pytest.importorskip("jupyter_client.manager", reason="no client of Jupyter kernels here")

TINY = {
    "sft_iterations": 20, "distill_iterations": 20, "iterations": 20, "batch_size": 16,
}  # fmt: skip
SECONDS = 240


@dataclass
class Page:
    """What stands below a cell: a front end's view of the kernel's messages, in their order."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    updates: int = 0
    lost: int = 0
    """Updates of a display that isn't there any more."""
    errors: list[str] = field(default_factory=list)

    def take(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "clear_output":
            self.outputs.clear()
        elif kind == "update_display_data":
            self.updates += 1
            mine = content["transient"]["display_id"]
            shown = [
                out for out in self.outputs if out.get("transient", {}).get("display_id") == mine
            ]
            self.lost += not shown
            for out in shown:
                out["data"] = content["data"]
        elif kind in ("display_data", "execute_result", "stream"):
            self.outputs.append(content)
        elif kind == "error":
            self.errors.append(f"{content['ename']}: {content['evalue']}")

    @property
    def html(self) -> list[str]:
        return [out["data"]["text/html"] for out in self.outputs if "text/html" in out["data"]]

    @property
    def text(self) -> str:
        return "".join(out.get("text", "") for out in self.outputs)


class Notebook:
    """Cells, one after the other."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __call__(self, source: str) -> Page:
        message, page, end = self.client.execute(source), Page(), time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                said = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if said["parent_header"].get("msg_id") != message:
                continue
            kind, content = said["msg_type"], said["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return page
            page.take(kind, content)
        raise AssertionError(f"no end of {source!r}: {page}")


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    environment = {**os.environ, "RECALLTRAP_COMPILE": "0", "RECALLTRAP_STORAGE": str(tmp_path)}
    kernel, client = manager.start_new_kernel(env=environment, cwd=str(tmp_path))
    try:
        cells = Notebook(client)
        settings = [f"settings.{name}={value}" for name, value in TINY.items()]
        begun = cells(f"import recalltrap as rt\ntiny = {{'overrides': {settings!r}}}")
        assert not begun.errors
        yield cells
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def only(page: Page) -> str:
    """The one thing that a cell shows, as HTML, without a word on stderr."""
    assert not page.errors
    assert not page.text
    [html] = page.html
    return html


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_each_object_shows_itself_and_a_run_its_progress(notebook: Notebook) -> None:
    plan = only(notebook("rt.plan('mog/quick', **tiny, seeds=2)"))
    assert "stages to build: align" in plan
    run = notebook("results = rt.run('mog/quick', **tiny, seeds=2, local=True)")
    assert "12/12 cells" in only(run)
    assert run.updates > 1
    assert not run.lost
    shown = only(notebook("results"))
    assert "Does aligning before distilling avoid the trap" in shown
    assert "<td style='text-align: left'>K-A@p&#x27;</td>" in shown
    assert "mog/quick" in only(notebook("results.verdict()"))
    assert "A-K − K-A" in only(notebook("results.effects()"))
    assert "kl_weight" in only(notebook("rt.forecast('mog/quick', **tiny, seeds=2)"))
    assert notebook("print(results.report())").text.strip().endswith("report/index.html")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_progress_stays_while_tune_runs_the_trials(notebook: Notebook) -> None:
    """Tune's own report would clear the cell, and advise ipywidgets above it."""
    run = notebook("results = rt.run('mog/quick', **tiny, seeds=1)")
    assert "6/6 cells" in only(run)
    assert not run.lost


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_a_mistake_is_one_sentence(notebook: Notebook) -> None:
    page = notebook("rt.run('mog/quikc')")
    [error] = page.errors
    assert error.startswith("InputError: 'mog/quikc' is neither a named study nor a file")
    assert not page.text
