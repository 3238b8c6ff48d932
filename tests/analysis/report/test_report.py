from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recalltrap.errors import InputError
from recalltrap.registry import claim_ids
from recalltrap_analysis.report import writers
from recalltrap_analysis.report.build import folder_name, write_report
from recalltrap_analysis.report.document.blocks import Document
from recalltrap_analysis.report.rendering import rendered
from recalltrap_analysis.report.run_report import run_report
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

pytestmark = pytest.mark.slow

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
    return parse(path)


def parse(path: Path) -> tuple[str, Page]:
    text = path.read_text()
    return text, parsed(text)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


STEMS = {
    "order-effect", "waterfall", "decomposition", "boxplots", "trajectories", "contours",
    "selection", "references", "densities", "forecast", "forecast-anchor-part", "reward-recall",
}  # fmt: skip
"""Not `scaling`: over `kl_weight` alone all settings have one recall deficit, so no figure."""


def test_report_holds_everything_and_needs_no_network(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.1 * p["kl_weight"], seeds=6)
    text, page = read_page(run)
    assert page.tags.count("script") == 1
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data") and tag != "a":
            assert value.startswith(("#", "data:")), (tag, name, value)
        if name == "style":
            assert "url(" not in value.replace("url(#", "")
    assert "@import" not in text
    folder = Path(run.folder) / "report"
    for stem in STEMS:
        assert (folder / "figures" / f"{stem}.svg").stat().st_size > 2000
        assert (folder / "figures" / f"{stem}.pdf").stat().st_size > 2000
    figures = [value for tag, name, value in page.attributes if (tag, name) == ("figure", "id")]
    assert set(figures) == {f"figure-{stem}" for stem in STEMS}
    labels = [v for tag, name, v in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == len(STEMS)
    assert all(len(value) > 30 for value in labels)
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert any(link.startswith("data:text/csv") for link in links)
    for link in (link for link in links if not link.startswith("data:")):
        assert link[1:] in ids if link.startswith("#") else (folder / link).exists()


def test_the_one_script_is_allowed_by_its_hash(make_run: MakeRun) -> None:
    text, page = read_page(make_run(missing=lambda o, s, p: True))
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [v for tag, name, v in page.attributes if (tag, name) == ("meta", "content")
                if "default-src" in v]  # fmt: skip
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_every_query_runs_and_gives_the_numbers_shown(make_run: MakeRun) -> None:
    run = make_run(
        order_effect=lambda p: 0.1 * p["kl_weight"], seeds=4, orderings=("K-A", "A-K", "K-A-K")
    )
    content = json.loads(Path(write_report(run, form="json")).read_text())
    tables = {block["table"]: block for block in walk(content) if "table" in block}
    queries = {name: block["query"] for name, block in tables.items() if block["query"]}
    assert len(queries) >= 10
    found = {name: run.sql(query).to_pylist() for name, query in queries.items()}
    assert all(found[name] for name in queries if name != "failures")
    for figure in walk(content):
        if figure.get("query"):
            run.sql(figure["query"])
    for row, mean in zip(found["order effect"], tables["order effect"]["rows"], strict=True):
        assert row["kl_weight"] == mean["kl_weight"]
        assert row["order_effect"] == pytest.approx(mean["order_effect"]["value"])
    for row, mean in zip(found["decomposition"], tables["decomposition"]["rows"], strict=True):
        for part in ("reference", "optimiser_ka", "last_distillation"):
            assert row[part] == pytest.approx(mean[part]["value"])
    for row, mean in zip(found["scaling"], tables["scaling"]["rows"], strict=True):
        assert row["deficit"] == pytest.approx(mean["deficit"]["value"])
    noise = {(r["kl_weight"], r["ordering"], r["metric"]): r for r in found["evaluation noise"]}
    for mean in tables["evaluation noise"]["rows"]:
        row = noise[mean["kl_weight"], mean["ordering"], mean["metric"]]
        assert row["seed_sd"] == pytest.approx(mean["seed_sd"])
        assert row["evaluation_error"] == pytest.approx(0.01)


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON document."""
    if isinstance(value, dict):
        yield value
    for inside in value.values() if isinstance(value, dict) else value:
        if isinstance(inside, dict | list):
            yield from walk(inside)


ATTACK = "<script>alert(1)</script>"
OWN = "<blink>$\\frac{1$</blink>"


def attacked(make_run: MakeRun) -> FakeRun:
    orderings = ("K-A", "A-K", {"name": OWN, "stages": ["distill", "align"]})
    question = f"{ATTACK} & 'why'? ![x](http://evil/x.png) `<b>` | **bold**"
    run = make_run(name=ATTACK, question=question, orderings=orderings, grid={}, seeds=2,
                   failing=lambda o, s, p: o == OWN)  # fmt: skip
    failures = run.tables["failures"].to_pylist()
    for row in failures:
        row |= {"message": ATTACK, "retry_command": ATTACK, "log_tail": f"``` {ATTACK}"}
    run.tables["failures"] = pa.Table.from_pylist(failures, run.tables["failures"].schema)
    return run


@pytest.fixture(scope="module")
def attacked_document(make_shared_run: MakeRun) -> Document:
    return rendered(run_report(ReadRun(attacked(make_shared_run))))


def test_no_name_becomes_a_tag(attacked_document: Document) -> None:
    text = writers.html(attacked_document)
    page = parsed(text)
    assert "blink" not in page.tags
    assert OWN in "".join(page.words)
    assert page.tags.count("script") == 1
    assert "&lt;script&gt;" in text
    assert ATTACK in "".join(page.words)
    assert "<b>bold" not in text


def test_no_name_becomes_a_tag_or_a_picture_in_markdown(attacked_document: Document) -> None:
    text = writers.markdown(attacked_document)
    outside = re.sub(r"(?s)(`{3,})[^\n]*\n.*?\n\1", "", text)
    outside = re.sub(r"`[^`\n]*`", "", outside)
    assert "<script" not in outside
    assert "<blink" not in outside
    assert "](http" not in text
    assert set(re.findall(r"</?(\w+)", outside)) <= {"details", "summary", "sub"}


def test_the_formats_hold_the_same_content(make_run: MakeRun) -> None:
    run = make_run(seeds=5, grid={"kl_weight": (0.5, 2.0), "student_components": (3, 4)})
    document = rendered(run_report(ReadRun(run)))
    page, markdown, as_json = (
        write(document) for write in (writers.html, writers.markdown, writers.to_json)
    )
    content = json.loads(as_json, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    titles = [s["title"] for chapter in content["chapters"] for s in chapter["sections"]]
    assert len(titles) == 12
    for title in titles:
        assert title in unescape(page)
        assert f"## {title}" in markdown
    for stem in (block["figure"] for block in walk(content) if block.get("files")):
        assert f"](figures/{stem}.svg)" in markdown
        assert f'href="figures/{stem}.svg"' in page
    table = next(block for block in walk(content) if block.get("table") == "order effect")
    assert set(table["rows"][0]["order_effect"]) == {"value", "low", "high", "method"}
    assert table["rows"][0]["order_effect"]["method"] == "Student's t"
    assert table["rows"][0]["trap_rate"]["method"] == "Wilson"


def test_a_summary_that_is_known_changes_nothing(make_run: MakeRun) -> None:
    run = make_run(grid={}, seeds=3)
    path = Path(write_report(run))
    page = path.read_bytes()
    path.unlink()
    write_report(run, summary=summarize(run))
    assert path.read_bytes() == page


def test_several_runs_make_one_report(make_run: MakeRun) -> None:
    first = make_run(name="mog/one", seeds=6, order_effect=lambda p: 0.4)
    second = make_run(name="mog/<two>", seeds=4, grid={"kl_weight": (1.0, 2.0)})
    second.run = "studies/two"
    path = Path(write_report(first, second))
    root = Path(first.storage.root)
    assert path == root / "reports" / "mog-one+mog-two" / "index.html"
    _, page = parse(path)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {"run-mog-one", "run-mog-two", "together-claims", "together-scaling"} <= set(ids)
    figures = {file.name for file in (path.parent / "figures").iterdir()}
    assert {"mog-one-order-effect.svg", "mog-two-waterfall.pdf", "scaling-estimate.svg"} <= figures
    content = json.loads(Path(write_report(second, first, form="json")).read_text())
    names = ("claims", "untested claims")
    ledger = [block for block in walk(content) if block.get("table") in names]
    rows = [row for block in ledger for row in block["rows"]]
    assert sorted(row["id"] for row in rows) == sorted(claim_ids())
    for block in ledger:
        untested = [row["verdict"] == "not tested" for row in block["rows"]]
        assert untested == [block["table"] == "untested claims"] * len(untested)
    [studies] = [block for block in walk(content) if block.get("table") == "studies"]
    assert [row["study"] for row in studies["rows"]] == ["mog/<two>", "mog/one"]
    with pytest.raises(InputError, match="named twice"):
        write_report(first, first)


def test_names_of_reports_are_short_and_do_not_depend_on_the_order() -> None:
    names = [f"mog/a-rather-long-study-{i}" for i in range(12)]
    assert folder_name(names) == folder_name(names[::-1])
    assert len(folder_name(names)) <= 80
    assert folder_name(["../../etc"]) == "etc"


def test_an_unknown_format_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match="allowed: html, markdown, json"):
        write_report(make_run(grid={}, seeds=2), form="pdf")


@pytest.mark.parametrize(
    "case",
    [
        "nothing",
        "one seed",
        pytest.param("not finite", marks=pytest.mark.slow),
        "no metrics",
        "newer schema",
        "lost plan",
        "one ordering",
        pytest.param("no artifacts", marks=pytest.mark.slow),
        pytest.param("no curves", marks=pytest.mark.slow),
        pytest.param("no costs", marks=pytest.mark.slow),
    ],
)
def test_report_of_a_run_that_lacks_something(make_run: MakeRun, case: str) -> None:
    run = {
        "nothing": lambda: make_run(missing=lambda o, s, p: True),
        "one ordering": lambda: make_run(orderings=("K-A",)),
        "one seed": lambda: make_run(seeds=1, grid={}),
        "not finite": lambda: make_run(spoilt=lambda o, s, p: True),
    }.get(case, lambda: make_run(seeds=3, grid={"kl_weight": (1.0,)}))()
    run.store.holds = case != "no artifacts"
    if case in ("no metrics", "no curves", "no costs"):
        name = case.removeprefix("no ")
        run.tables[name] = run.tables[name].slice(0, 0)
    if case == "newer schema":
        run.refuses = "metrics/a.parquet has schema version 9, and this version reads 1 to 1"
    if case == "lost plan":
        run.tables = {name: table.slice(0, 0) for name, table in run.tables.items()}
        run.tables["planned"] = pa.table({"cell_id": pa.array([], pa.string())})
    document = rendered(run_report(ReadRun(run)))
    page = parsed(writers.html(document))
    words = " ".join(page.words)
    assert "nan" not in re.findall(r"\b\w+\b", words.lower())
    expected = {
        "nothing": "No verdict: the primary comparison has no numbers",
        "one ordering": "this study has no A-K",
        "one seed": "one seed: no interval",
        "not finite": "not finite in 10 of 10 pairs",
        "no artifacts": "is not in the store",
        "no metrics": "it holds no rows, though cells have succeeded",
        "newer schema": "No verdict: the table cells can't be used",
        "no curves": "holds no reward of an alignment",
        "no costs": "No cost has been recorded",
        "lost plan": "no cell of the study can be shown",
    }[case]
    assert expected in words
    assert expected in json.dumps(json.loads(writers.to_json(document)), ensure_ascii=False)
    assert re.sub(r"\W", "", expected) in re.sub(r"\W", "", writers.markdown(document))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_five_thousand_cells_are_reported(make_run: MakeRun) -> None:
    """How long it takes is measured by `tests/benchmarks/named_studies.py`."""
    grid = {
        "kl_weight": tuple(0.1 * i for i in range(1, 9)),
        "teacher_sharpness": tuple(float(i) for i in range(1, 9)),
        "student_components": (2, 3),
    }
    run = make_run(grid=grid, seeds=20)
    assert len(run.planned()) == 5120
    texts: list[str] = []
    write_report(run, form="json", tell=texts.append)
    assert "5120 of 5120 cells succeeded" in json.loads(texts[0])["counts"]
