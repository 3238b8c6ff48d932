"""The acceptance itself, without a GPU: what it does about parts that fail, and a dry run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import recalltrap as rt
from recalltrap.registry import find_kind
from tests.gpu import acceptance, parts, studies
from tests.gpu.acceptance import PARTS, ROOT, TOTAL, Acceptance, Part, Row

SCRIPT = """
import json, os, subprocess, sys, time
name, rows = sys.argv[1], sys.argv[sys.argv.index("--rows") + 1]
row = {"part": name, "what": "a number", "goal": "-", "measured": "1", "status": "ok", "seconds": 0}
with open(rows, "a") as file:
    file.write(json.dumps(row) + "\\n")
    if name == "cut":
        file.write('{"part": "cut", "wh')
if name == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid, flush=True)
    time.sleep(600)
if name == "breaks":
    raise SystemExit("the device is on fire")
"""
"""A part that measures one thing, and then does what its name says."""


def make(folder: Path, *wanted: Part) -> Acceptance:
    script = folder / "part.py"
    script.write_text(SCRIPT)
    return Acceptance(wanted, folder, folder, [], os.environ, (sys.executable, str(script)))


def test_a_part_that_fails_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    names = ("breaks", "cut", "good")
    rows = list(make(tmp_path, *(Part(name, 30) for name in names)).run())
    assert [(row.part, row.status) for row in rows] == [
        ("breaks", "ok"), ("breaks", "failed"), ("cut", "ok"), ("good", "ok"),
    ]  # fmt: skip
    assert rows[1].measured == "exit 1: the device is on fire"
    assert "the device is on fire" in (tmp_path / "breaks.log").read_text()


@pytest.mark.slow
def test_a_part_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    rows = list(make(tmp_path, Part("hangs", 3), Part("good", 30)).run())
    assert time.monotonic() - began < 30
    assert [(row.part, row.status, row.measured) for row in rows] == [
        ("hangs", "ok", "1"), ("hangs", "failed", "ran out of time"), ("good", "ok", "1"),
    ]  # fmt: skip
    child = int((tmp_path / "hangs.log").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_what_a_part_leaves_the_next_one_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def watched(self: Acceptance, part: Part, limit: float) -> list[Row]:
        limits.append(limit)
        return []

    monkeypatch.setattr(Acceptance, "run_part", watched)
    assert not list(make(tmp_path, Part("a", 10), Part("b", 20), Part("c", 30)).run())
    assert limits == pytest.approx([10, 30, 60], abs=1.0)


def test_every_part_has_its_time_and_a_body() -> None:
    assert sum(part.seconds for part in PARTS) <= TOTAL < 10 * 60 - 30
    assert [part.name for part in PARTS] == list(parts.RUN)


def test_a_missed_goal_is_neither_met_nor_a_failure(tmp_path: Path) -> None:
    rows, scratch = tmp_path / "rows", tmp_path
    real = parts.Report("throughput", rows, scratch, "cuda", tiny=False, p_star=None)
    real.goal("faster", 1000.0, 999.0, " x")
    real.goal("faster", 1000.0, 1000.0, " x")
    parts.Report("throughput", rows, scratch, "cpu", tiny=True, p_star=None).goal("tiny", 1e3, 1.0)
    written = [Row(**json.loads(line)) for line in rows.read_text().splitlines()]
    assert [(row.goal, row.status) for row in written] == [
        (">= 1000 x", "missed"), (">= 1000 x", "ok"), ("-", "ok"),
    ]  # fmt: skip
    lines = acceptance.table(written).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1


def test_a_checkout_stands_in_for_an_installed_package(tmp_path: Path) -> None:
    """An offline machine can't build it: its kinds and rooms are found all the same."""
    acceptance.stand_in(tmp_path)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    here = importlib.metadata.distribution("recalltrap")
    assert (found.name, found.version) == (here.name, here.version)
    points = {(point.group, point.name): point for point in found.entry_points}
    assert points["recalltrap.studies", "mog"].load().name == "mog"
    assert callable(points["recalltrap.rooms", "report"].load())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--p-star", "/nowhere"], "no config.json in it"),
        (["--device", "cuda"], "torch sees no GPU here. The dry run: --device cpu --tiny"),
    ],
)
def test_what_cannot_be_run_is_refused(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptance, "gpu", lambda: None)
    assert acceptance.main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("tiny", [True, False], ids=["tiny", "real"])
def test_the_studies_are_accepted_as_they_stand(tmp_path: Path, tiny: bool) -> None:
    """Nobody is there to mend a setting that was renamed when a GPU is."""
    corpus = tmp_path / "corpus.txt"
    studies.write_corpus(corpus, 300, 60)
    made = [studies.mixture(tiny=tiny), studies.language(tiny=tiny)]
    made.append(studies.one_gpu(corpus, None, tiny=tiny))
    for content in made:
        path = tmp_path / f"{content['kind']}.json"
        path.write_text(json.dumps(content))
        study = rt.load_study(str(path))
        cells = study.cells()
        find_kind(study.kind).check(cells)
        orderings, points = len(content["orderings"]), 2 if "grid" in content else 1
        assert len(cells) == orderings * points * content["seeds"]


@pytest.mark.slow
def test_the_corpus_gives_a_tokenizer_of_smollm2s_size(tmp_path: Path) -> None:
    """Each of its words stands in it, so each can become a token."""
    corpus = tmp_path / "corpus.txt"
    studies.write_corpus(corpus, *parts.CORPUS)
    lines = corpus.read_text().splitlines()
    assert all(line.startswith("The ") for line in lines)
    assert len({word for line in lines for word in line.rstrip(".").split()}) > studies.VOCABULARY


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dry_run_on_the_cpu_without_ray(tmp_path: Path) -> None:
    """Every part at a tiny size; on one device, both runs of the comparison agree to the bit."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ray'] = None\n")
    script = str(ROOT / "tests" / "gpu" / "acceptance.py")
    done = subprocess.run(
        [sys.executable, script, "--device", "cpu", "--tiny", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    content = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [Row(**row) for row in content["rows"]]
    assert list(dict.fromkeys(row.part for row in rows)) == [part.name for part in PARTS]
    for row in rows:
        assert row.status == ("skipped" if row.part == "tests" else "ok"), row
        assert row.part != "tests" or "no CUDA device" in row.measured
        if row.part == "equality" and row.goal != "equal":
            assert row.measured.startswith("0 "), row
    assert content["device"] == "cpu"
    assert acceptance.table(rows) in done.stdout
