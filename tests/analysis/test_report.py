from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis import report
from recalltrap_analysis.costs import cost_table, unshared_seconds
from recalltrap_analysis.gaps import count_table, describe, failure_groups
from recalltrap_analysis.outcomes import Plan
from recalltrap_analysis.panels import box_panels, reference_groups, sweep_axis, thin, typical_pair
from recalltrap_analysis.report import write_report
from recalltrap_analysis.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

VOID = {"meta", "br", "hr", "img", "link", "input", "wbr"}


class Page(HTMLParser):
    """Checks that tags are balanced; collects text, attributes and ids outside SVG."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(run: FakeRun) -> tuple[str, Page]:
    path = Path(write_report(run))
    assert path == Path(run.folder) / "report" / "index.html"
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    return text, page


def test_report_holds_everything_and_needs_no_network(make_run: MakeRun) -> None:
    run = make_run(severity=lambda p: 0.1 * p["kl_weight"])
    text, page = read_page(run)
    assert "script" not in page.tags
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data") and tag != "a":
            assert value.startswith("#"), (tag, name, value)
        if name == "style":
            assert "url(" not in value.replace("url(#", "")
    assert "@import" not in text
    assert len(re.findall(r"<svg\b", text)) == 6
    for stem in ("severity", "decomposition", "boxplots", "contours", "references", "forecast"):
        assert (Path(run.folder) / "report" / "figures" / f"{stem}.svg").stat().st_size > 2000
        assert (Path(run.folder) / "report" / "figures" / f"{stem}.pdf").stat().st_size > 2000
    images = [
        value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"
    ]
    assert len(images) == 6
    assert all(len(value) > 30 for value in images)
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]
    for link in links:
        assert (Path(run.folder) / "report" / link).exists()
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_names_and_questions_are_escaped(make_run: MakeRun) -> None:
    attack = "<script>alert(1)</script>"
    own = "<blink>$\\frac{1$</blink>"
    orderings = ("K-A", "A-K", {"name": own, "stages": ["distill", "align"]})
    question = f"{attack} & 'why'?"
    run = make_run(name=attack, question=question, orderings=orderings, grid={}, seeds=2)
    text, page = read_page(run)
    assert "blink" not in page.tags
    assert own in "".join(page.words)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert attack in "".join(page.words)


@pytest.mark.parametrize(
    "case",
    [
        "nothing",
        "one seed",
        "not finite",
        pytest.param("one ordering", marks=pytest.mark.slow),
        pytest.param("no artifacts", marks=pytest.mark.slow),
    ],
)
def test_report_of_a_run_that_lacks_something(make_run: MakeRun, case: str) -> None:
    run = {
        "nothing": lambda: make_run(missing=lambda o, s, p: True),
        "one ordering": lambda: make_run(orderings=("K-A",)),
        "one seed": lambda: make_run(seeds=1, grid={}),
        "not finite": lambda: make_run(spoilt=lambda o, s, p: True),
        "no artifacts": lambda: make_run(),
    }[case]()
    run.store.holds = case != "no artifacts"
    _, page = read_page(run)
    words = " ".join(page.words)
    expected = {
        "nothing": "No verdict: no grid point can be judged",
        "one ordering": "this study has no A-K",
        "one seed": "one seed: no interval",
        "not finite": "not finite in 10 of 10 pairs",
        "no artifacts": "is not in the store",
    }[case]
    assert expected in words
    assert "nan" not in re.findall(r"\b\w+\b", words.lower())


def test_failures_and_missing_cells_are_named(make_run: MakeRun) -> None:
    run = make_run(
        failing=lambda o, s, p: o == "A-K" and s in (1, 2, 5) and p["kl_weight"] == 2.0,
        missing=lambda o, s, p: o == "K-A" and s == 7,
    )
    summary = summarize(run)
    counts = count_table(summary.cells, summary.fates).set_index("ordering")
    assert counts.loc["A-K"].to_dict() == {
        "planned": 30, "succeeded": 27, "failed": 3, "missing": 0,
    }  # fmt: skip
    assert counts.loc["K-A", "missing"] == 3
    failures = run.table("failures").to_pandas()
    [group] = failure_groups(failures, summary.cells, summary.axes, summary.fates)
    assert group.cells == 3
    assert group.where == "A-K, kl_weight 2: seeds 1–2, 5"
    _, page = read_page(run)
    words = "".join(page.words)
    assert "loss <became> NaN" in words
    assert "recalltrap run fake" in words
    assert "K-A, kl_weight 0.5: seed 7" in words


def test_repaired_failures_are_not_shown(make_run: MakeRun) -> None:
    broken = make_run(failing=lambda o, s, p: s == 1)
    repaired = make_run()
    summary = summarize(repaired)
    failures = broken.table("failures").to_pandas()
    assert not failure_groups(failures, summary.cells, summary.axes, summary.fates)


def test_long_lists_of_cells_are_cut(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": tuple(range(1, 40))}, seeds=2)
    lines = describe(run.planned(), run.axes, most=30)
    assert len(lines) == 31
    assert lines[-1] == "and 48 more settings"


def test_costs_count_shared_artifacts_in_both_orderings_but_pay_once(make_run: MakeRun) -> None:
    run = make_run(seeds=4)
    costs = run.table("costs").to_pandas()
    table = cost_table(costs, run.planned()).set_index(["ordering", "stage"])
    # p' of 4 seeds is shared; p'' is K-A's; K-A aligns at 3 settings; A-K aligns and distils at 3
    assert table.loc[("K-A", "all stages"), "artifacts"] == 4 + 4 + 12
    assert table.loc[("A-K", "all stages"), "artifacts"] == 4 + 12 + 12
    assert table.loc[("all orderings", "all stages"), "wall_seconds"] == len(costs) == 44
    assert table.loc[("A-K", "distill"), "tokens"] == 1200
    assert unshared_seconds(costs, run.planned()) == 12 * 3 + 12 * 4


def test_large_grids_are_thinned(make_run: MakeRun) -> None:
    grid = {
        "student_components": (2, 3, 4),
        "kl_weight": tuple(0.1 * i for i in range(1, 15)),
        "teacher_sharpness": (1.25, 2.5, 5.0, 10.0),
    }
    run = make_run(grid=grid, seeds=2)
    summary = summarize(run)
    assert sweep_axis(summary.plan) == "kl_weight"
    panels, note = box_panels(summary.outcomes, summary.plan)
    assert len(panels.columns) == 4
    assert len(panels.positions) == 12
    assert "4 of 12 combinations of the other axes are shown" in note
    labels, recall, _, _ = reference_groups(summary.outcomes, summary.plan)
    assert len(labels) == 1  # the invented references don't depend on the setting
    assert recall[0][0].shape == (2,)
    assert thin(range(10), 3) == [0, 4, 9]


def test_the_typical_seed_is_the_median_one(make_run: MakeRun) -> None:
    summary = summarize(make_run(severity=lambda p: 0.1 * p["kl_weight"], seeds=9, noise=0.05))
    found = typical_pair(summary.pairs, summary.severity)
    assert found is not None
    point, seed = found
    assert point == (2.0,)
    rows = summary.pairs[[p == point for p in summary.pairs["point"]]].set_index("seed")
    assert rows["severity"][seed] == rows["severity"].median()


def test_plan_keeps_the_order_of_the_grid(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (2.0, 0.5)}, seeds=2)
    plan = Plan.of(run.planned(), run.axes)
    assert plan.points == ((2.0,), (0.5,))
    assert plan.seeds[(0.5,), "A-K"] == (0, 1)
    assert summarize(run).severity["kl_weight"].tolist() == [2.0, 0.5]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (4321, "4321"), (12345, "12.35k"), (3.2e6, "3.2M"),
     (7e13, "7.00e+13"), (np.nan, "–"), (np.inf, "∞")],
)  # fmt: skip
def test_amounts(value: float, text: str) -> None:
    assert report.amount(value) == text


def test_rows_beyond_the_first_fold_away() -> None:
    frame = pd.DataFrame({"x": range(30), "name": ["a"] * 30})
    table = report._table(frame, list(range(29, -1, -1)))
    assert [row[0] for row in table["rows"]] == [str(i) for i in range(6, 30)]
    assert len(table["more"]) == 30
    assert table["words"] == [False, True]


@pytest.mark.slow
def test_five_thousand_cells_are_reported_in_time(make_run: MakeRun) -> None:
    grid = {
        "kl_weight": tuple(0.1 * i for i in range(1, 9)),
        "teacher_sharpness": tuple(float(i) for i in range(1, 9)),
        "student_components": (2, 3),
    }
    run = make_run(grid=grid, seeds=20)
    assert len(run.planned()) == 5120
    start = time.perf_counter()
    write_report(run)
    assert time.perf_counter() - start < 15
