"""The forecast's error as it was measured: in a storage's own runs, else as it is shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recalltrap_analysis.check.past_errors import PastErrors, errors_of, past_errors, shipped
from recalltrap_analysis.estimates.attainment import ATTAINMENT, IN_SDS

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

ORDERINGS = ["K-A", "A-K", "K-A@p'"]


def test_errors_are_forecast_minus_measured_by_kl_weight(make_run: MakeRun) -> None:
    run = make_run(seeds=6, orderings=ORDERINGS, noise=0.0)
    found = errors_of([run])
    assert [one.kl_weight for one in found] == [0.5, 1.0, 2.0]
    for one in found:
        # invented: the optima differ by 0.18, and K-A@p' ends where K-A does
        assert one.bias == pytest.approx(0.18)
        assert one.mean_absolute_error == pytest.approx(0.18)
        assert (one.pairs, one.studies) == (6, ("fake/study",))


def test_a_storage_s_own_come_first_and_the_nearest_weight_stands_for_others(
    make_run: MakeRun,
) -> None:
    run = make_run(seeds=6, orderings=ORDERINGS, noise=0.0)
    own = past_errors("mog", ["ppo"], ATTAINMENT, [0.9, 40.0], [make_run(seeds=2), run])
    assert own.here
    assert [one.kl_weight for one in own.errors] == [1.0, 2.0]
    assert "0.18 at 1, 0.18 at 2 in attainment" in own.line()
    none = past_errors("mog", ["ppo"], ATTAINMENT, [0.5], [make_run(seeds=2)])
    assert not none.here
    assert "shipped with recalltrap" in none.line()


def test_without_any_it_says_so() -> None:
    found = past_errors("llm", ["ppo"], IN_SDS, [0.5], [])
    assert found == PastErrors((), here=True)
    assert "not measured yet" in found.line()


def test_what_is_shipped_is_whole() -> None:
    found = shipped()
    assert {(one.kind, one.algorithm) for one in found} >= {("llm", "ppo"), ("mog", "ppo")}
    for one in found:
        assert abs(one.bias) <= one.mean_absolute_error + 1e-3
        assert one.pairs > 0
        assert one.studies
