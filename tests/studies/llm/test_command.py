"""The language study from the command line, at the smallest size: all orderings, in this process
and on a group of workers under DeepSpeed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from recalltrap.results.results import open_run
from recalltrap_studies.llm.models.weights import read_model

pytestmark = pytest.mark.timeout(300)
STUDY = """
name: llm/tiny
kind: llm
question: Does it run from end to end?
orderings:
  [K-A, A-K, A, K, "K-A@p'", K-A-K, {name: A-logits, stages: [align, {distill: logits}]}]
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
    program = "import sys; from recalltrap.cli.command_line import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RECALLTRAP_DEVICE": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
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
    # K-A, A-K (also A's) and K-A@p' align; A-K and K-A-K distil once more, A-logits from A-K's
    # samples; K is p'' itself
    assert stages == ["align"] * 3 + ["assess"] * 6 + ["distill"] * 3 + ["sample"] * 2
    planned = json.loads(recalltrap("plan", "tiny.yaml", "--format", "json", folder=tmp_path))
    rows = {row["what"]: row["value"] for row in planned}
    assert rows["cells to do"] == 0
    query = "select count(*) as n from metrics where model = 'final' and metric = 'reward'"
    (row,) = json.loads(recalltrap("query", "llm/tiny", query, "--format", "json", folder=tmp_path))
    assert row["n"] == 7
    recalltrap("export", "llm/tiny", "A-K", "0", "out", folder=tmp_path)
    results = open_run("llm/tiny", tmp_path / "runs")
    (cell,) = [cell for cell in results.planned() if cell.ordering.name == "A-K"]
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path / "out").encode("The farmer")])
    with torch.no_grad():
        exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(ids).logits
        stored = read_model(results.store, cell.models["final"])(ids).logits
    assert torch.equal(exported, stored)


SMALL = """
kind: llm
question: Does a report come out where p* doesn't speak our grammar?
orderings: [K-A, A-K]
seeds: 1
settings:
  p_prime: nano-small
  training_samples: 128
  heldout_samples: 32
  sample_tokens: 16
  align_tokens: 16
  p_prime_epochs: 1
  distill_epochs: 1
  target_epochs: 1
  iterations: 2
  oracle_samples: 64
  evaluation_samples: 64
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["corpus", "folder"])
def test_a_language_without_our_grammar_gets_its_report(
    source: str,
    tmp_path: Path,
    sentences: list[str],
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    """p* from a text file, and p* from a folder: no topics, no grammar, and all the rest."""
    (tmp_path / "corpus.txt").write_text("\n".join(sentences[:300]))
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    mine = {"corpus": "  p_star: nano-small\n  corpus: corpus.txt\n  p_star_epochs: 1\n",
            "folder": "  p_star: ./model\n"}[source]  # fmt: skip
    (tmp_path / "own.yaml").write_text(f"name: own\n{SMALL}{mine}")
    said = recalltrap("run", "own.yaml", "--local", folder=tmp_path)
    assert "report: " in said
    lacking = "grammatical, topic_coverage of p', p'', p'_AK, the final model"
    assert f"note: {lacking}: no finite value in any cell" in said
    page = (tmp_path / "runs/studies/own/report/index.html").read_text()
    assert "Topics and their coverage are left out" in page
    content = json.loads(recalltrap("report", "own", "--format", "json", folder=tmp_path))
    assert any(line.startswith(lacking) for line in content["lacks"])
    assert "a bug in recalltrap" not in json.dumps(content)
    (row, *_) = json.loads(recalltrap("status", "own", "--format", "json", folder=tmp_path))
    assert row["succeeded"] == 1
    query = "select count(*) as n from metrics where metric like 'topic%'"
    assert json.loads(recalltrap("query", "own", query, "--format", "json", folder=tmp_path)) == [
        {"n": 0}
    ]


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_under_zero_2(tmp_path: Path) -> None:
    """A-K has every stage; one cell is one group of workers. The numbers are a lone process's."""
    (tmp_path / "tiny.yaml").write_text(STUDY)
    run = ["run", "tiny.yaml", "-o", "orderings=[A-K]"]
    group = ["-o", "resources.workers=2", "-o", "resources.zero_stage=2", "--storage", "group"]
    assert "report: " in recalltrap(*run, *group, folder=tmp_path)
    recalltrap(*run, "--local", folder=tmp_path)
    together, alone = (open_run("llm/tiny", str(tmp_path / name)) for name in ("group", "runs"))
    costs = together.sql("select stage, workers from costs where stage != 'evaluate'").to_pylist()
    assert {row["workers"] for row in costs} == {2}
    assert {row["stage"] for row in costs} == {
        "pretrain", "sample", "sft", "target", "oracle", "distill", "align", "assess",
    }  # fmt: skip
    query = "select model, metric, value from metrics where scorer != 'selection' order by all"
    values = [run.sql(query)["value"].to_pylist() for run in (together, alone)]
    assert values[0] == pytest.approx(values[1], rel=0.05, abs=0.02)


UNPAIRED = """
name: llm/unpaired
kind: llm
question: Does an algorithm run from end to end that stands in its module and its record alone?
orderings: [K-A]
seeds: 1
settings:
  algorithm: kto
  kl_weight: 0.1
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
  offline_pairs: 32
  oracle_samples: 64
  evaluation_samples: 64
"""


@pytest.mark.slow
def test_kto_is_planned_and_run(tmp_path: Path) -> None:
    (tmp_path / "unpaired.yaml").write_text(UNPAIRED)
    planned = json.loads(recalltrap("plan", "unpaired.yaml", "--format", "json", folder=tmp_path))
    assert {row["what"]: row["value"] for row in planned}["cells to do"] == 1
    assert "report: " in recalltrap("run", "unpaired.yaml", "--local", folder=tmp_path)
    query = "select stage, updates from costs where stage != 'evaluate' order by all"
    costs = open_run("llm/unpaired", str(tmp_path / "runs")).sql(query).to_pylist()
    updates = {row["stage"]: row["updates"] for row in costs}
    assert updates["align"] == 2 * 64 / 16
    assert updates["distill"] == round(200 / 64)
    assert updates["sample"] == updates["oracle"] == updates["assess"] == 0
    query = "select distinct metric from curves where stage = 'align'"
    curves = open_run("llm/unpaired", str(tmp_path / "runs")).sql(query)["metric"].to_pylist()
    assert {"loss", "kl_term", "reward_margin", "reward", "kl"} <= set(curves)
