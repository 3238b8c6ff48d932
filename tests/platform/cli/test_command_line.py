"""The command line: what it prints where, its exit statuses, and no traceback for any input."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from toy_kind import KIND
from toy_trouble import plant

import recalltrap.cli.commands
import recalltrap.results.results
from recalltrap.cli.command_line import main
from recalltrap.kind import CostEstimate
from recalltrap.results.results import Results, open_run
from recalltrap.run.run import run
from recalltrap.study.named_studies import named_studies
from recalltrap.units import duration

StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


def recalltrap_(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """What is said of a refused input: on stderr, by exit status 2, without a traceback."""
    done = recalltrap_(*arguments)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the repository; the report has its own tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recalltrap.cli.commands, "room", _room)
    monkeypatch.setattr(recalltrap.results.results, "room", _room)


def _room(name: str) -> Any:
    from recalltrap.registry import room

    return _report if name == "report" else room(name)


def _report(
    results: Results,
    form: str = "html",
    summary: Any = None,
    tell: Callable[[str], None] | None = None,
) -> str:
    assert summary is None or summary.study == results.study.name
    if tell is not None:
        tell(f"{form} of {results.study.name} – all of it\n")
    return f"{results.folder}/report.{form}"


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> str:
    storage = str(tmp_path_factory.mktemp("once") / "runs")
    run("toy/tiny", overrides=["name=toy/test"], storage=storage, local=True)
    return storage


@pytest.fixture
def finished(run_once: str, storage: str) -> str:
    """A storage of this test's own in which `toy/test` was run."""
    shutil.copytree(run_once, storage)
    return storage


def test_run_ends_with_what_to_do_verdict_effects_and_report(
    study_file: StudyFile, storage: str
) -> None:
    done = recalltrap_("run", study_file(), "--storage", storage, "--local")
    assert done.exit_code == 0
    results = open_run("toy/test", storage)
    advice, verdict, table, *_ = done.stdout.split("\n\n")
    assert advice == results.recommendation().sentence
    assert verdict == str(results.verdict())
    assert "order effect" in table.splitlines()[0]
    assert done.stdout.rstrip().endswith(f"report: {storage}/studies/toy/test/report.html")
    assert "12/12 cells" in done.stderr


@pytest.mark.slow
def test_a_large_run_shows_its_ten_deepest_grid_points(study_file: StudyFile, storage: str) -> None:
    weights = [round(0.25 * n, 2) for n in range(1, 14)]
    done = recalltrap_("run", study_file(grid={"kl_weight": weights}, seeds=2), "--storage",
                       storage, "--local")  # fmt: skip
    assert done.exit_code == 0, done.output
    table = done.stdout.split("\n\n")[2].splitlines()
    assert len(table) == 11
    order_effect = open_run("toy/test", storage).summary.order_effect
    deepest = order_effect.assign(depth=order_effect["order_effect"].abs()).nlargest(
        10, "depth", keep="first"
    )
    shown = [float(line.split()[0]) for line in table[1:]]
    assert shown == deepest["kl_weight"].tolist()
    assert "3 more grid points stand in the report" in done.stdout


def test_what_a_kind_has_to_say_is_said_by_plan_and_by_run(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KIND), "check", lambda self, cells: ["only the shape is used"])
    study, where = study_file(), ("--storage", storage, "-o", "seeds=1")
    rows = json.loads(recalltrap_("plan", study, *where, "--format", "json").stdout)
    assert rows[-1] == {"what": "note", "value": "only the shape is used"}
    for command in (("run", "--local"), ("forecast",)):
        done = recalltrap_(command[0], study, *where, *command[1:])
        assert done.exit_code == 0, done.output
        assert "note: only the shape is used" in done.stderr
        assert "only the shape" not in done.stdout


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("resources.gpus_per_trial=0", ["time on one core (estimated)", "core hours (estimated)"]),
        ("resources.gpus_per_trial=1",
         ["FLOPs (estimated)", "time on one GPU (estimated)", "of which decoding (memory-bound)"]),
    ],
)  # fmt: skip
def test_plan_says_how_long_in_units_of_people(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch, asked: str,
    names: list[str],
) -> None:  # fmt: skip
    cost = CostEstimate(86_400.0, 10**9, 1e15, gpu_seconds=36_000.0, gpu_decoding=3600.0)
    monkeypatch.setattr(type(KIND), "estimate", lambda self, node: cost)
    done = recalltrap_("plan", study_file(), "--storage", storage, "-o", asked, "--format", "json")
    rows = {row["what"]: row["value"] for row in json.loads(done.stdout)}
    assert [name for name in rows if "estimated" in name or "memory" in name] == [
        *names,
        "disk (estimated)",
        "a further seed (estimated)",
    ]
    builds = sum(count for name, count in rows.items() if name.startswith("stages to build"))
    assert rows["disk (estimated)"] == f"{builds} GB"
    per_seed = builds // 3  # nothing of the toy is shared by its three seeds
    if asked.endswith("1"):
        assert rows["a further seed (estimated)"] == f"{duration(36_000 * per_seed)} on one GPU"
        assert rows[names[1]] == duration(36_000 * builds)
        assert rows[names[2]] == duration(3600 * builds)
    else:
        assert rows[names[0]] == f"{builds} days"
        assert rows[names[1]] == f"{24 * builds}"


def test_run_with_failures_exits_1(study_file: StudyFile, storage: str, tmp_path: Path) -> None:
    plant(tmp_path / "trouble", "nan", "align", seed=1, kl_weight=2.0)
    study = study_file(settings={"trouble": str(tmp_path / "trouble")})
    done = recalltrap_("run", study, "--storage", storage, "--local")
    assert done.exit_code == 1
    again = recalltrap_("status", "toy/test", "--storage", storage, "--format", "json")
    assert json.loads(again.stdout)[-1] == {
        "ordering": "all", "planned": 12, "succeeded": 10, "failed": 2, "missing": 0
    }  # fmt: skip


@pytest.mark.slow
def test_several_studies_run_one_after_another(study_file: StudyFile, storage: str) -> None:
    first = study_file(name="toy/first")
    second = shutil.copy(first, Path(first).with_name("second.yaml"))
    Path(second).write_text(Path(second).read_text().replace("toy/first", "toy/second"))
    done = recalltrap_("run", first, str(second), "--storage", storage, "--local")
    assert done.exit_code == 0, done.output
    reports = [line for line in done.stdout.splitlines() if line.startswith("report: ")]
    assert [Path(line).parent.name for line in reports] == ["first", "second"]


def test_no_study_starts_when_one_of_them_is_refused(study_file: StudyFile, storage: str) -> None:
    assert "toy/quikc" in refused("run", study_file(), "toy/quikc", "--storage", storage, "--local")
    assert not Path(storage).exists()


def test_run_takes_overrides(study_file: StudyFile, storage: str) -> None:
    arguments = ("--storage", storage, "-o", "seeds=1", "-o", "settings.iterations=7", "--local")
    assert recalltrap_("run", study_file(), *arguments).exit_code == 0
    shown = recalltrap_(
        "query", "toy/test", "select distinct seed, iterations from cells", "--storage", storage,
        "--format", "json",
    )  # fmt: skip
    assert json.loads(shown.stdout) == [{"seed": 0, "iterations": 7}]


def test_the_default_storage_is_runs_here(study_file: StudyFile, tmp_path: Path) -> None:
    assert recalltrap_("run", study_file(), "-o", "seeds=1", "--local").exit_code == 0
    assert (tmp_path / "runs/studies/toy/test/study.yaml").is_file()
    assert recalltrap_("status", "runs/studies/toy/test").exit_code == 0


def test_studies_lists_them_all() -> None:
    rows = json.loads(recalltrap_("studies", "--format", "json").stdout)
    assert [row["study"] for row in rows] == list(named_studies())
    assert all(row["cells"] > 0 and row["question"] for row in rows)


def test_studies_prints_the_schema() -> None:
    schema = json.loads(recalltrap_("studies", "--schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_plan_says_what_would_be_done(study_file: StudyFile, storage: str) -> None:
    done = recalltrap_("plan", study_file(), "--storage", storage, "--format", "json")
    rows = {row["what"]: row["value"] for row in json.loads(done.stdout)}
    assert rows["cells to do"] == 12
    assert rows["stages to build: sft"] == 3
    assert rows["stages to build: align"] == 12
    assert rows["stages reused from the store"] == 0
    assert rows["schedulable here"].startswith("yes")
    assert not Path(storage).exists()
    assert done.exit_code == 0
    greedy = recalltrap_("plan", study_file(resources={"gpus_per_trial": 64}), "--format", "json")
    rows = {row["what"]: row["value"] for row in json.loads(greedy.stdout)}
    assert rows["schedulable here"].startswith("no")
    assert greedy.exit_code == 2
    assert "64 GPU on one node" in greedy.stderr
    assert "What would fit: -o resources.gpus_per_trial=" in greedy.stderr


def test_plan_after_a_run(study_file: StudyFile, finished: str, snapshot: Snapshot) -> None:
    before = snapshot(finished)
    done = recalltrap_("plan", study_file(seeds=4), "--storage", finished, "--format", "json")
    rows = {row["what"]: row["value"] for row in json.loads(done.stdout)}
    assert (rows["cells already done"], rows["cells to do"]) == (12, 4)
    assert snapshot(finished) == before


def test_status_of_a_run(finished: str) -> None:
    rows = json.loads(
        recalltrap_("status", "toy/test", "--storage", finished, "--format", "json").stdout
    )
    assert rows == [
        {"ordering": name, "planned": n, "succeeded": n, "failed": 0, "missing": 0}
        for name, n in (("A-K", 6), ("K-A", 6), ("all", 12))
    ]


def test_query_prints_json_csv_and_a_table(finished: str) -> None:
    sql = (
        "select ordering, sum(seed) as seeds, max(started_at) as t from cells group by 1 order by 1"
    )

    def ask(form: str) -> str:
        done = recalltrap_("query", "toy/test", sql, "--storage", finished, "--format", form)
        assert done.exit_code == 0
        assert done.stderr == ""
        return done.stdout

    rows = json.loads(ask("json"))
    assert [(row["ordering"], row["seeds"]) for row in rows] == [("A-K", 6), ("K-A", 6)]
    table = list(csv.DictReader(io.StringIO(ask("csv"))))
    assert [(row["ordering"], row["seeds"]) for row in table] == [("A-K", "6"), ("K-A", "6")]
    assert "K-A" in ask("table")


@pytest.mark.parametrize(
    ("form", "said"),
    [("html", "studies/toy/test/report.html\n"), ("json", "json of toy/test – all of it\n"),
     ("markdown", "markdown of toy/test – all of it\n")],
)  # fmt: skip
def test_report_says_where_its_page_is_or_what_pipes(form: str, said: str, finished: str) -> None:
    done = recalltrap_("report", "toy/test", "--storage", finished, "--format", form)
    assert done.exit_code == 0
    assert done.stdout.removeprefix(f"{finished}/") == said
    assert done.stderr == ""


def test_the_report_stands_before_anything_is_printed(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(recalltrap.cli.commands, "print_table", lambda rows: said.append("table"))

    def report(results: Results, **_: Any) -> str:
        assert said == []
        return "page"

    monkeypatch.setattr(
        recalltrap.results.results, "room", lambda name: report if name == "report" else _room(name)
    )
    done = recalltrap_("run", study_file(), "--storage", storage, "--local")
    assert done.exit_code == 0
    assert said == ["table"]
    assert done.stdout.endswith("report: page\n")


def test_forecast_builds_references_alone(study_file: StudyFile, storage: str) -> None:
    done = recalltrap_("forecast", study_file(), "--storage", storage, "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
    assert sorted(os.listdir(f"{storage}/artifacts")) == ["distill", "sft"]
    run = recalltrap_("run", study_file(), "--storage", storage, "--local")
    assert run.exit_code == 0
    assert "6 stages from the store" in run.stderr


@pytest.mark.parametrize("command", ["plan", "run", "forecast", "check"])
@pytest.mark.parametrize(
    ("study", "expected"),
    [("toy/tinny", "did you mean 'toy/tiny'?"), ("nowhere.yaml", "no study file"), ("", "neither"),
     ("/", "neither"), ("bad.yaml", "bad.yaml:1"), ("../..", "neither")],
)  # fmt: skip
def test_a_wrong_study_is_refused(command: str, study: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("nmae: x\n")
    assert expected in refused(command, study)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["status", "report"])
@pytest.mark.parametrize("run", ["toy/tiny", "", "/", "../.."])
def test_a_run_that_is_not_there_is_refused(command: str, run: str) -> None:
    assert "no run" in refused(command, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql", ["selec", "", "select * from nowhere", "copy cells to 'x.csv'", "select 'a"]
)
def test_a_wrong_query_is_refused(sql: str, finished: str) -> None:
    assert "query" in refused("query", "toy/test", sql, "--storage", finished)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--storage", "file"),
        ("--storage", "file/below"),
        ("--storage", "foreign"),
        ("--storage", "nonesuch://x/y"),
        ("--storage", "/proc/x"),
        ("-o", "nonsense"),
        ("-o", "seeds=-1"),
        ("-o", "settings.kl_weight=1"),
        ("-o", "name=../../up"),
        ("--address", "http://x"),
        ("--address", "ray://203.0.113.7:10001"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(
    arguments: tuple[str, ...],
    study_file: StudyFile,
    tmp_path: Path,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no token there
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/precious").write_text("")
    study = study_file()
    before = snapshot(str(tmp_path))
    local = () if "--address" in arguments else ("--local",)
    refused("run", study, *arguments, *local)
    assert snapshot(str(tmp_path)) == before


@pytest.mark.parametrize("arguments", [("run",), ("nope",), ("query", "x"), ("run", "x", "--nope")])
def test_wrong_usage_is_clicks_matter(arguments: tuple[str, ...]) -> None:
    assert recalltrap_(*arguments).exit_code == 2


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_explains_itself(name: str) -> None:
    command = main.commands[name]
    assert command.help
    assert recalltrap_(name, "--help").exit_code == 0
    assert all(option.help for option in command.params
               if isinstance(option, click.Option) and option.name != "form")  # fmt: skip


# As a process


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recalltrap.cli.command_line", *arguments],
        capture_output=True, text=True, cwd=cwd, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_json_pipes(study_file: StudyFile, tmp_path: Path) -> None:
    done = process("plan", study_file(), "--format", "json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)[0] == {"what": "study", "value": "toy/test"}
    assert done.stderr == ""


def test_a_refusal_is_two_lines_at_most(study_file: StudyFile, tmp_path: Path) -> None:
    done = process("run", study_file(seeds=[-1]), "--local", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("recalltrap: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(study_file: StudyFile, tmp_path: Path) -> None:
    command = f"{sys.executable} -m recalltrap.cli.command_line studies --schema | head -c 10"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
