"""A check's page, from a study of mixtures and its references."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from recalltrap.registry import find_kind
from recalltrap.study.study import Study
from recalltrap_analysis.check import references
from recalltrap_analysis.check.decision import COSTS_LITTLE, KEEP, UNDECIDED
from recalltrap_analysis.report.check_report import check_study
from recalltrap_analysis.runs.kind_record import record_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.analysis.conftest import MakeRun


@pytest.mark.slow
def test_the_page_has_the_sentence_the_figures_and_what_scores_it(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_kind("mog")
    after_a_run = replace(record_of("mog"), scope_notes=lambda settings: ["the shape was used"])
    monkeypatch.setattr(references, "record_of", lambda name: after_a_run)
    run = make_run(seeds=3, grid={"kl_weight": (0.5, 2.0), "student_components": (3, 4)})
    study = Study(
        name="fake/study", kind="mog", question="Is <it> safe?", orderings=["K-A", "A-K"], seeds=3,
        grid={"kl_weight": [0.5, 2.0], "student_components": [3, 4]},
    )  # fmt: skip
    found = check_study(
        run.table("metrics"), run.cells, run.store, run.storage, study,
        [("core hours", "12")], [], ["only the shape is used"],
    )  # fmt: skip
    folder = tmp_path / "studies/fake/study/report/check"
    page = (folder / "index.html").read_text()
    assert found.page == str(folder / "index.html")
    assert {"frontier.svg", "frontier.pdf", "check-anchor-part.svg"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    assert "Is &lt;it&gt; safe?" in page
    assert page.count("only the shape is used") == 1
    assert "the shape was used" not in page, "the kind's notes have said so"
    assert "The references of mixtures are known densities" in page
    assert "can't be drawn" not in page
    said = json.loads((folder / "check.json").read_text())["check"]
    assert said["word"] in (KEEP, COSTS_LITTLE, UNDECIDED)
    assert said["sentence"] == found.sentence
    assert [(one["kl_weight"], one["student_components"]) for one in said["points"]] == [
        (0.5, 3), (0.5, 4), (2.0, 3), (2.0, 4),
    ]  # fmt: skip
    assert found.points.num_rows == 4
    assert len(found.table(2)) == 2
    assert json.loads(found.json)["check"] == said
