"""A study's check from its references: one per pair of them, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from toy_rewards import with_scores

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.check import references
from recalltrap_analysis.check.decision import COSTS_LITTLE, KEEP, UNDECIDED
from recalltrap_analysis.check.findings import Findings, check_findings
from recalltrap_analysis.check.sentence import lines, sentence
from recalltrap_analysis.report.check.page import check_document
from recalltrap_analysis.report.document.blocks import Grid
from recalltrap_analysis.runs.kind_record import KindRecord, RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

SAMPLES = 3000


def kind_of(
    shares: Mapping[str, float], judge: Mapping[str, float], scorer: str = ""
) -> KindRecord:
    """Samples that hit with these shares, and are as likely under the judge; a scorer minds."""

    def key(cell: Cell, name: str) -> str:
        return cell.models[name].id

    def read(cell: Cell, name: str, store: ArtifactReader) -> Responses:
        hits = np.arange(SAMPLES) < round(shares[name] * SAMPLES)
        reward = np.where(hits, 10.0, 0.0)[None]
        like = np.full_like(reward, judge[name])
        scores = (-reward,) if scorer else ()
        return Responses(reward, like, like * 0 + 20, like * 0 + 1, np.ones(1), scores=scores)

    samples = RewardSamples(
        key, lambda c, n, s: read(c, n, s).reward_KN, read, setting="evaluation_samples"
    )
    return KindRecord(
        reward_supremum="reward_height",
        kl_weight="kl_weight",
        algorithm="algorithm",
        reward_samples=samples,
    )


@pytest.fixture
def checked(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Any:
    def check(
        prime: float, second: float, weights: Sequence[float] = (4.0,), seeds: int = 1,
        judge: tuple[float, float] = (-1.0, -1.0), scorer: str = "",
    ) -> Findings:  # fmt: skip
        shares = {"p_prime": prime, "p_second": second}
        kind = kind_of(shares, dict(zip(shares, judge, strict=True)), scorer)
        monkeypatch.setattr(references, "record_of", lambda name: kind)
        run = make_run(seeds=seeds, grid={"kl_weight": weights})
        run = with_scores(run, scorer, lambda row: 1.0, 1.0) if scorer else run
        return check_findings(run.table("metrics"), run.cells, run.store, run.axes, "mog")

    return check


def test_grid_points_share_the_references_that_are_theirs(checked: Any) -> None:
    found = checked(0.2, 0.2, (3.0, 5.0), seeds=9)
    assert [one.point for one in found.points] == [(3.0,), (5.0,)]
    (pair,) = found.pairs
    assert len(pair.seeds) == 9
    assert pair.redrawn
    said = sentence(found)
    assert said.word == COSTS_LITTLE
    assert said.text.startswith(
        "The anchor p'' costs less than the margin at all 2 grid points: the anchor part is at most"
    )


def test_p_prime_is_kept_where_p_second_would_not_do(checked: Any) -> None:
    said = sentence(checked(0.03, 0.002, (3.0, 200.0)))
    assert said.word == KEEP
    assert said.text.startswith("Keep p' as the reference at kl_weight 3: anchored to p''")
    assert said.text.endswith("of the other grid points p'' costs less than the margin at 1.")


def test_what_it_cannot_decide_it_says_and_how_many_more_would(checked: Any) -> None:
    found = checked(0.06, 0.058, (4.0,))
    said = sentence(found)
    assert said.word == UNDECIDED
    assert "instead of 3,000" in said.text
    assert "(settings.evaluation_samples)" in said.text
    wanted = int(said.text.split("draw ")[1].split(" samples")[0].replace(",", ""))
    more = found.points[0].decision.more
    assert wanted == pytest.approx(more.times * SAMPLES, rel=0.05)
    assert wanted > SAMPLES


def test_lines_tell_the_trap_and_what_isn_t_forecast(checked: Any) -> None:
    said = lines(checked(0.05, 0.0))
    hit = next(line for line in said if line.startswith("R ≥ 0.9 R_max"))
    assert "p'' practically never hits where p' does" in hit
    assert "first hit after 20 and ∞ (at least 782)" in hit
    assert any("last distillation isn't forecast" in line for line in said)
    assert not any("less likely" in line for line in said)


def test_a_likely_reward_of_gibberish_is_pointed_at(checked: Any) -> None:
    said = lines(checked(0.2, 0.2, judge=(-1.0, -2.5)))
    assert said[0].startswith("Look at what p'' says: its best responses are up to 1.50 nats")


def test_a_scorer_that_falls_in_what_the_reward_picks_is_warned_of(checked: Any) -> None:
    found = checked(0.2, 0.2, (3.0, 5.0), scorer="manners")
    assert [(one.scorer, one.reference) for one in found.scorers] == [
        ("manners", "p'"), ("manners", "p''"),
    ]  # fmt: skip
    (line,) = [line for line in lines(found) if "reward hacking" in line]
    assert "score lower than all samples by manners" in line
    document = check_document("toy", "?", found, sentence(found), [], "", [])
    (section,) = [one for one in document.chapters[0].sections if one.key == "scorers"]
    (table,) = [block for block in section.blocks if isinstance(block, Grid)]
    assert [row[-1] for row in table.rows] == ["scores lower"] * 2
    assert document.summary["check"]["scorers"] == table.data
    assert not checked(0.2, 0.2).scorers


def test_a_kind_without_samples_is_refused() -> None:
    with pytest.raises(InputError, match="can't be checked"):
        references.checkable("toy")


def test_the_frame_has_a_row_per_grid_point(checked: Any) -> None:
    frame = checked(0.2, 0.1, (3.0, 5.0)).frame
    assert frame["kl_weight"].tolist() == [3.0, 5.0]
    assert (frame["at_least"] <= frame["anchor_part"]).all()
    assert (frame["anchor_part"] <= frame["at_most"]).all()
