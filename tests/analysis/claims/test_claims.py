"""Tables made so that a claim must come out reproduced, and so that it must not."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel, ConfigDict

from recalltrap.graph import Cell, Node
from recalltrap.kind import METRICS, Metric
from recalltrap.orderings import Ordering
from recalltrap.study.primary import Primary
from recalltrap_analysis.claims.ledger import ledger
from recalltrap_analysis.claims.verdict import ClaimVerdict


class MixtureSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kl_weight: float = 1.0
    iterations: int = 600
    student_components: int = 4
    teacher_sharpness: float = 10.0
    spacing: float = 1.0
    algorithm: str = "ppo"
    targets: tuple[int, ...] = (7,)
    reward_height: float = 10.0


class LanguageSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kl_weight: float = 0.7
    algorithm: str = "ppo"
    distill_temperature: float = 0.95
    last_distill_temperature: float | None = None
    reward_height: float = 8.0


START, SUPREMUM = 1.0, 10.0  # of the reward
SEEDS = 12  # so few have all their sign flips enumerated


@dataclass(frozen=True)
class Truth:
    """The truth behind a table: leads of A-K over K-A, sds over seeds, and how they change.

    Leads are those at `kl_weight` 0.5, and rise by half of that per doubling.
    """

    reward: float = 2.0
    target_precision: float = 3.0
    overall_recall: float = -1.0
    overall_precision: float = 1.0
    intermediate: float = 1.0
    sd_ka: float = 0.4
    sd_ak: float = 0.1
    three_components: float = 3.0  # factor of K-A's sd
    two_targets: tuple[float, float] = (4.0, 1.3)  # factors of the sds of K-A and A-K
    gain: float = 0.05  # of K-A's reward per doubling of the iterations
    recall_gap: float = 1.0
    hit_rates: tuple[float, float] = (0.04, 0.01)
    precision_slope: float = -3.0  # in the distillation temperature
    recall_slope: float = 2.0

    def values(
        self, ordering: str, seed: int, point: Mapping[str, Any]
    ) -> Iterator[tuple[str, str, float]]:
        """Model, metric, value of one cell."""

        def draw(*what: Any) -> float:
            shared, own = (zlib.crc32(repr(key).encode()) for key in (what, (what, point)))
            pair = [np.random.default_rng([seed, n]).normal() for n in (shared, own)]
            return float(0.7 * pair[0] + 0.7 * pair[1])

        sd = self.sd_ka if ordering == "K-A" else self.sd_ak
        if ordering == "K-A" and point.get("student_components") == 3:
            sd *= self.three_components
        if len(point.get("targets", ())) > 1:
            sd *= self.two_targets[0 if ordering == "K-A" else 1]
        rise = 1 + 0.5 * np.log2(point["kl_weight"] / 0.5)
        doublings = np.log2(point.get("iterations", 600) / 600)
        tau = point.get("distill_temperature", 1.0)
        if ordering == "A-K":
            tau = point.get("last_distill_temperature") or tau
        for metric, base in (
            ("reward", 5.0), ("target_precision", -9.0), ("overall_recall", -4.0),
            ("overall_precision", -2.0),
        ):  # fmt: skip
            value = base + sd * draw(ordering, metric)
            value += rise * getattr(self, metric) if ordering == "A-K" else 0.0
            value += self.gain * doublings if metric == "reward" else 0.0
            value += self.precision_slope * tau if metric == "overall_precision" else 0.0
            value += self.recall_slope * tau if metric == "overall_recall" else 0.0
            yield "final", metric, value
            if ordering == "A-K":
                middle = base + self.intermediate + 0.1 * draw("aligned", metric)
                yield "p_prime_aligned", metric, middle
        shared = np.random.default_rng([seed, 1]).normal()
        recalls = (-2.0 + 0.01 * shared, -2.0 - self.recall_gap + 0.1 * shared)
        for i, model in enumerate(("p_prime", "p_second")):
            yield model, "overall_recall", recalls[i]
            yield model, "reward", START
            if "targets" not in point:  # a language's reward has a measured supremum
                yield model, "reward_supremum", SUPREMUM
            yield model, "hit_rate", self.hit_rates[i] * (1 + 0.1 * shared)


@dataclass(frozen=True)
class ClaimStudy:
    name: str
    kind: str
    claims: tuple[str, ...]
    orderings: tuple[Ordering, ...]
    seeds: tuple[int, ...]
    question: str = "?"
    looks: tuple[int, ...] = ()
    margin: float | None = None
    recall_budget: float | None = None
    contrasts: tuple[tuple[str, str], ...] | None = None
    primary: Primary | None = None


class NoStore:
    def has(self, node: Node, /) -> bool:
        return False

    def read(self, node: Node, name: str, /) -> bytes:
        raise FileNotFoundError(name)


@dataclass
class TableRun:
    study: ClaimStudy
    axes: tuple[str, ...]
    measured: pa.Table
    cells: list[Cell]
    store: NoStore = field(default_factory=NoStore)

    @property
    def folder(self) -> str:
        return f"/nowhere/{self.study.name}"

    def table(self, name: str, /) -> pa.Table:
        assert name == "metrics"
        return self.measured

    def planned(self) -> list[Cell]:
        return self.cells

    def provenance(self) -> dict[str, Any]:
        return {}

    def looks(self) -> tuple[int, ...]:
        return (len(self.study.seeds),)

    def metrics(self) -> Mapping[str, Metric]:
        return METRICS

    def sql(self, query: str) -> pa.Table:
        connection = duckdb.connect(":memory:")
        connection.register("metrics", self.measured)
        return connection.sql(query).to_arrow_table()


def invent(
    tested: str | Sequence[str],
    truth: Truth | None = None,
    seeds: int = SEEDS,
    name: str = "mog/test",
    kind: str = "mog",
    orderings: Sequence[str] = ("K-A", "A-K"),
    lost: Sequence[tuple[str, int]] = (),
    **grid: Sequence[Any],
) -> TableRun:
    """A run over a grid whose tables follow from a world; `lost` (ordering, seed) never ended."""
    truth = truth or Truth()
    settings = LanguageSettings if kind == "llm" else MixtureSettings
    found = tuple(Ordering.model_validate(ordering) for ordering in orderings)
    listed = (tested,) if isinstance(tested, str) else tuple(tested)
    study = ClaimStudy(name, kind, listed, found, tuple(range(seeds)))
    cells, rows = [], []
    for values in itertools.product(*grid.values()):
        point = settings.model_validate(dict(zip(grid, values, strict=True)))
        for ordering, seed in itertools.product(found, study.seeds):
            node = Node("align", seed, {})
            cell = Cell(kind, ordering, seed, point, {"final": node})
            cells.append(cell)
            if (ordering.name, seed) in lost:
                continue
            identity = {"cell_id": cell.id, "ordering": ordering.name, "seed": seed}
            for model, metric, value in truth.values(ordering.name, seed, cell.factors):
                measured = {"model": model, "metric": metric, "value": value}
                rows.append(identity | cell.factors | measured)
    return TableRun(study, tuple(grid), pa.Table.from_pylist(rows), cells)


def judged(claim: str, *runs: TableRun) -> ClaimVerdict:
    """The claim's verdict, after checking that its query returns the rows that it counts."""
    found = {verdict.id: verdict for verdict in ledger(runs)}[claim]
    by_name = {run.study.name: run for run in runs}
    assert sum(by_name[n].sql(found.query).num_rows for n in found.runs if found.query) == (
        found.rows
    )
    return found


KL = (0.5, 1.0, 2.0)
LENGTHS = (200, 600, 1000, 1400)
BOTH_SIZES: dict[str, Any] = {"kl_weight": KL, "student_components": (3, 4)}
PPO: dict[str, Any] = {"kind": "llm", "kl_weight": (0.7,)}
DPO: dict[str, Any] = {"kind": "llm", "algorithm": ("dpo_online",)}
TAUS: dict[str, Any] = {"kind": "llm", "distill_temperature": (0.8, 0.9, 1.0)}
LAST_TAUS: dict[str, Any] = {"kind": "llm", "last_distill_temperature": (0.8, None, 1.0)}
OFFLINE: dict[str, Any] = {"kl_weight": KL, "algorithm": ("dpo_offline",), "seeds": 30}
NOTHING_LOST = Truth(hit_rates=(0.01, 0.01), recall_gap=-0.5)
EVEN = Truth(overall_recall=1.0, sd_ka=0.2, sd_ak=0.2)
RECALL = Truth(overall_recall=1.0)
SLIGHTLY = Truth(overall_recall=-0.1, sd_ka=0.1, sd_ak=0.02)

CASES: list[tuple[str, dict[str, Any], Truth, Truth]] = [
    ("C1", {"kl_weight": KL}, Truth(), Truth(reward=0.0)),
    ("C1", {"kl_weight": KL}, Truth(reward=0.5), Truth(reward=-1.0)),
    ("C2", {"kl_weight": KL}, Truth(), Truth(target_precision=-1.0)),
    ("C3", {"kl_weight": KL}, Truth(), Truth(sd_ka=0.02)),
    ("C4", {"kl_weight": KL}, Truth(), Truth(overall_recall=1.0)),
    ("C4", {"kl_weight": KL}, Truth(), Truth(target_precision=-1.0)),
    ("C5", {"iterations": LENGTHS}, Truth(), Truth(reward=-1.0)),
    ("C5", {"iterations": LENGTHS}, Truth(gain=0.2), Truth(gain=4.0)),
    ("C6", BOTH_SIZES, Truth(), Truth(three_components=0.2)),
    ("C7", {"kl_weight": KL}, Truth(), Truth(overall_precision=-1.0, sd_ka=0.1)),
    ("C8", OFFLINE, EVEN, Truth(overall_recall=-1.0, sd_ka=1.0, sd_ak=0.1)),
    ("C10", {"student_components": (3, 4)}, Truth(), NOTHING_LOST),
    ("C11", PPO, RECALL, Truth(sd_ka=0.02)),
    ("C12", DPO, SLIGHTLY, Truth(target_precision=-1.0, sd_ka=0.02)),
    ("C13", PPO, Truth(), Truth(intermediate=-1.0)),
    ("C14", TAUS, Truth(), Truth(recall_slope=-2.0)),
    ("C14", LAST_TAUS, Truth(), Truth(recall_slope=-2.0)),
]  # fmt: skip
IDS = [f"{claim}-{i}" for i, (claim, *_) in enumerate(CASES)]


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "grid", "holds", "fails"), CASES, ids=IDS)
def test_a_claim_is_reproduced_where_it_holds_and_only_there(
    claim: str, grid: dict[str, Any], holds: Truth, fails: Truth
) -> None:
    found = judged(claim, invent(claim, holds, **grid))
    assert found.verdict == "reproduced", found.detail
    assert found.effect is not None
    assert found.effect.low <= found.effect.value <= found.effect.high
    assert found.rows > 0
    assert found.runs == ("mog/test",)
    assert judged(claim, invent(claim, fails, **grid)).verdict == "not reproduced"


def test_effects_are_those_of_the_tables() -> None:
    found = judged("C1", invent("C1", Truth(reward=2.0, sd_ka=0.05, sd_ak=0.05), kl_weight=KL))
    assert found.effect is not None
    assert found.effect.value == pytest.approx(2 * 2.0 / (SUPREMUM - START), abs=0.01)
    assert found.rows == 2 * 2 * 3 * SEEDS  # the rewards of the finals and of p''
    precision = judged("C2", invent("C2", Truth(sd_ka=0.05, sd_ak=0.05), kl_weight=KL)).effect
    assert precision is not None
    assert precision.value == pytest.approx(2 * 3.0, abs=0.05)
    ratio = judged("C3", invent("C3", Truth(sd_ka=0.4, sd_ak=0.1), kl_weight=KL)).effect
    assert ratio is not None
    assert ratio.low < 4.0 < ratio.high


def test_two_targets_are_compared_with_the_one_target_run_beside_them() -> None:
    one = invent([], name="mog/one", kl_weight=KL)
    two = invent("C9", name="mog/two", kl_weight=KL, targets=[(6, 7)])
    found = judged("C9", one, two)
    assert found.verdict == "reproduced", found.detail
    assert found.runs == ("mog/one", "mog/two")
    assert found.rows == 2 * 2 * 3 * SEEDS
    alone = judged("C9", two)
    assert alone.verdict == "not tested"
    assert "mog/ppo-beta" in alone.detail
    other = invent([], name="mog/one", kl_weight=KL, algorithm=("grpo",))
    assert judged("C9", other, two).verdict == "not tested"
    calm = Truth(two_targets=(0.3, 1.0))
    calm_two = invent("C9", calm, name="mog/two", kl_weight=KL, targets=[(6, 7)])
    assert judged("C9", one, calm_two).verdict == "not reproduced"
    # variance grows in K-A, but just as much in A-K: no interval lies against the claim
    alike = Truth(two_targets=(4.0, 4.0))
    assert (
        judged(
            "C9", one, invent("C9", alike, name="mog/two", kl_weight=KL, targets=[(6, 7)])
        ).verdict
        == "undecided"
    )


def test_strata_are_judged_apart() -> None:
    good = invent("C1", name="mog/good", kl_weight=KL, teacher_sharpness=(10.0,))
    bad = invent("C1", Truth(reward=-1.0), name="mog/bad", kl_weight=KL, teacher_sharpness=(1.25,))
    found = judged("C1", good, bad)
    assert found.verdict == "mixed"
    assert [(f.stratum, f.verdict) for f in found.strata] == [
        ("teacher_sharpness 1.25", "not reproduced"),
        ("teacher_sharpness 10", "reproduced"),
    ]
    assert "teacher_sharpness 1.25" in found.effect_name
    assert found.effect is not None
    assert found.effect.value == pytest.approx(-1.0 / (SUPREMUM - START), abs=0.03)
    agreeing = invent("C1", name="mog/bad", kl_weight=KL, algorithm=("grpo",))
    assert judged("C1", good, agreeing).verdict == "reproduced"


def test_a_cell_that_two_runs_share_counts_once() -> None:
    first = invent("C1", name="mog/a", kl_weight=KL)
    both = judged("C1", first, invent("C1", name="mog/b", kl_weight=KL))
    once = judged("C1", first)
    assert both.effect == once.effect
    assert both.detail == once.detail
    assert both.rows == 2 * once.rows


def test_a_claim_draws_on_the_runs_that_list_it_and_fit() -> None:
    run = invent("C2", kl_weight=KL)
    assert judged("C1", run).verdict == "not tested"
    offline = judged("C3", invent("C3", **OFFLINE))
    assert offline.verdict == "not tested"
    assert "mog/test: no cells that fit" in offline.detail
    mixture = invent("C11", kl_weight=KL)
    assert judged("C11", mixture).verdict == "not tested"
    assert judged("C1", invent("C1", kind="llm", kl_weight=(0.7,))).verdict == "not tested"


def test_three_seeds_are_not_enough_and_the_verdict_says_what_is() -> None:
    wide = Truth(reward=0.5, sd_ka=1.0)
    found = judged("C1", invent("C1", wide, seeds=3, kl_weight=KL))
    assert found.verdict == "undecided"
    assert "seeds would tell it from the margin" in found.detail
    eight = judged("C1", invent("C1", seeds=8, kl_weight=KL))
    assert eight.verdict == "reproduced"
    spread = judged("C3", invent("C3", Truth(sd_ka=0.15), seeds=4, kl_weight=(1.0,)))
    assert spread.verdict == "undecided"
    assert "seeds would tell 1 from 2" in spread.detail
    two = judged("C3", invent("C3", seeds=2, kl_weight=(1.0,)))
    assert two.verdict == "undecided"
    assert "three seeds" in two.detail
    single = judged("C11", invent("C11", RECALL, seeds=1, **PPO))
    assert single.verdict == "undecided"


def test_incomplete_grid_points_are_left_out_and_named() -> None:
    grid: dict[str, Any] = {"kl_weight": KL}
    whole = invent("C1", **grid)
    torn = invent("C1", lost=[("K-A", 3)], **grid)
    found = judged("C1", torn)
    assert found.verdict == "not tested"
    assert f"1 of {SEEDS} seeds lack a finite value" in found.detail
    spoilt = whole.measured.to_pylist()
    for row in spoilt:
        if row["kl_weight"] == 2.0 and row["seed"] == 4 and row["metric"] == "reward":
            row["value"] = float("nan")
    partly = judged("C1", replace(whole, measured=pa.Table.from_pylist(spoilt)))
    assert partly.verdict == "reproduced"
    assert "1 grid points left out" in partly.detail
    assert partly.rows == 2 * 2 * 2 * SEEDS
    assert '"kl_weight" in (0.5, 1.0)' in partly.query


def test_excess_settings_are_kept_out_of_the_query() -> None:
    run = invent("C4", kl_weight=(0.5, 1.0, 4.0), student_components=(3, 4))
    rows = run.measured.to_pylist()
    for row in rows:
        if row["kl_weight"] == 4.0 and row["student_components"] == 3 and row["seed"] == 0:
            row["value"] = float("nan")
    found = judged("C4", replace(run, measured=pa.Table.from_pylist(rows)))
    assert "not (" in found.query
    assert found.rows == 2 * 2 * 3 * SEEDS


@pytest.mark.parametrize("half", [{"hit_rates": (0.019, 0.01)}, {"recall_gap": -0.5}])
def test_a_claim_of_two_parts_of_which_one_fails_is_mixed(half: dict[str, Any]) -> None:
    found = judged("C10", invent("C10", Truth(**half), student_components=(3, 4)))
    assert found.verdict == "mixed"
    assert "hit-rate ratio 1.9" in found.detail or "hit-rate ratio 4.0" in found.detail
    spread_alone = invent("C7", Truth(overall_precision=-1.0), kl_weight=KL)
    assert judged("C7", spread_alone).verdict == "mixed"


def test_every_claim_has_a_verdict_even_without_runs() -> None:
    found = ledger([])
    paper = [f"C{i}" for i in range(1, 15)]
    assert [verdict.id for verdict in found if verdict.id in paper] == paper
    assert {verdict.verdict for verdict in found} == {"not tested"}
    assert all("tested by" in verdict.detail for verdict in found)
    assert len({verdict.text for verdict in found}) == len(found)


def test_a_run_without_rows_is_not_tested() -> None:
    run = invent("C1", kl_weight=KL)
    found = judged("C1", replace(run, measured=run.measured.slice(0, 0)))
    assert found.verdict == "not tested"
    assert "lack a finite value" in found.detail


def test_a_temperature_that_bends_is_mixed() -> None:
    run = invent("C14", **TAUS)
    rows = run.measured.to_pylist()
    for row in rows:  # precision dips in the middle, its slope stays
        if row["metric"] == "overall_precision" and row["distill_temperature"] == 0.9:
            row["value"] -= 1.0
    assert judged("C14", replace(run, measured=pa.Table.from_pylist(rows))).verdict == "mixed"


def test_an_underpowered_study_beside_a_reproduced_one_takes_nothing_away() -> None:
    good = invent("C1", name="mog/good", kl_weight=KL, teacher_sharpness=(10.0,))
    noisy = Truth(reward=0.5, sd_ka=4.0)
    few = invent("C1", noisy, 2, "mog/few", kl_weight=KL, teacher_sharpness=(1.25, 2.5))
    found = judged("C1", good, few)
    assert found.verdict == "reproduced"
    assert found.counted == "reproduced in 1 of 3 strata, 2 undecided"


def test_a_single_kl_weight_shows_no_rise() -> None:
    found = judged("C1", invent("C1", kl_weight=(1.0,)))
    assert found.verdict == "undecided"
    assert "a single kl_weight shows no rise" in found.detail
    small = judged("C1", invent("C1", Truth(reward=0.0, sd_ka=0.1), kl_weight=(1.0,)))
    assert small.verdict == "not reproduced"


def test_a_reward_without_a_supremum_is_judged_in_its_standard_deviations() -> None:
    run = invent("C11", RECALL, **PPO)
    rows = [
        row | {"standard_error": 0.05, "samples": 400}
        for row in run.measured.to_pylist()
        if row["metric"] != "reward_supremum"
    ]
    found = judged("C11", replace(run, measured=pa.Table.from_pylist(rows)))
    assert found.verdict == "reproduced", found.detail
    assert found.effect is not None
    lead = 2.0 * (1 + 0.5 * np.log2(0.7 / 0.5))  # and the sd is 0.05 * 20 = 1
    assert found.effect.value == pytest.approx(lead, abs=0.3)
    assert "metric = 'reward'" in found.query


@pytest.mark.parametrize(
    ("truth", "part"),
    [
        (Truth(overall_recall=-1.0), "recall A-K − K-A + 0.2 -1"),
        (replace(SLIGHTLY, sd_ak=1.0), "sd(K-A) / sd(A-K) 0.1"),
    ],
)
def test_dpo_is_also_steadier_and_costs_no_more_than_marginal_recall(
    truth: Truth, part: str
) -> None:
    found = judged("C12", invent("C12", truth, **DPO))
    assert found.verdict == "mixed"
    assert "not reproduced" in found.detail
    assert part in found.detail
