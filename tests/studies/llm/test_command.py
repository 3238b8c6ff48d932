"""The language study from the command line, at the smallest size: forecast, run, run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STUDY = """
name: llm/tiny
kind: llm
question: Does it run from end to end?
orderings: [K-A, A-K]
seeds: 1
settings:
  p_star: nano-small
  p_prime: nano-small
  corpus_sentences: 300
  p_star_epochs: 1
  training_samples: 200
  heldout_samples: 32
  p_prime_epochs: 1
  distill_epochs: 1
  target_epochs: 1
  iterations: 2
  oracle_samples: 64
  evaluation_samples: 64
claims: [C11, C13]
"""


def recalltrap(*arguments: str, folder: Path) -> str:
    """What the command says on stdout; it must succeed."""
    program = "import sys; from recalltrap.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RECALLTRAP_DEVICE": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forecast_run_and_run_again(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    said = recalltrap("forecast", "tiny.yaml", "--format", "json", folder=tmp_path)
    (row,) = json.loads(said)
    assert row["state"] == "complete"
    assert row["ess_p_prime"] > 1
    built = {path.parent for path in tmp_path.glob("runs/artifacts/*/*/record.json")}
    said = recalltrap("run", "tiny.yaml", "--local", folder=tmp_path)
    assert "report: " in said
    after = {path.parent for path in tmp_path.glob("runs/artifacts/*/*/record.json")}
    stages = sorted(path.parent.name for path in after - built)
    assert stages == ["align"] * 2 + ["assess"] * 3 + ["distill"] + ["sample"]
    planned = json.loads(recalltrap("plan", "tiny.yaml", "--format", "json", folder=tmp_path))
    rows = {row["what"]: row["value"] for row in planned}
    assert rows["cells to do"] == 0
    query = "select count(*) as n from metrics where model = 'final' and metric = 'reward'"
    (row,) = json.loads(recalltrap("query", "llm/tiny", query, "--format", "json", folder=tmp_path))
    assert row["n"] == 2
