"""Rewards of the samples that an assessment holds."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap_analysis.language.reference_rewards import REWARD_SAMPLES
from recalltrap_analysis.statistics.best_of_n import BestOfNCurve
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.assess import OWN_FILE, OWN_SCHEMA

REWARDS = [7.5, 8.25, 6.0, 7.75]


@dataclass
class OneAssessment:
    """A store that holds one assessment."""

    node: Node
    damaged: bool = False

    def has(self, node: Node, /) -> bool:
        return node.id == self.node.id

    def read(self, node: Node, name: str, /) -> bytes:
        assert name == OWN_FILE
        columns = {field: [None] * len(REWARDS) for field in OWN_SCHEMA.names}
        file = io.BytesIO()
        pq.write_table(pa.table(columns | {"reward": REWARDS}, schema=OWN_SCHEMA), file)
        return b"not parquet" if self.damaged else file.getvalue()


def cell(assessments: dict[str, Node]) -> Cell:
    ordering = Ordering.model_validate("K-A")
    return Cell("llm", ordering, 2, LlmSettings(), {}, assessments=assessments)


def test_an_assessment_s_own_rewards_are_the_samples() -> None:
    node = Node("assess", 2, {"model": "p'"})
    reward_PN = REWARD_SAMPLES.read(cell({"p_prime": node}), "p_prime", OneAssessment(node))
    assert reward_PN.tolist() == [REWARDS]
    assert REWARD_SAMPLES.key(cell({"p_prime": node}), "p_prime") == node.id
    assert BestOfNCurve.of(reward_PN).best(1e-9).reward == 8.25


def test_what_can_t_be_read_is_refused_with_the_reason() -> None:
    node = Node("assess", 2, {"model": "p'"})
    here, store = cell({"p_prime": node, "p_second": Node("assess", 2, {})}), OneAssessment(node)
    with pytest.raises(InputError, match="p_second of seed 2 are not in the store"):
        REWARD_SAMPLES.read(here, "p_second", store)
    with pytest.raises(InputError, match="p_prime of seed 2 can't be read"):
        REWARD_SAMPLES.read(here, "p_prime", OneAssessment(node, damaged=True))
    with pytest.raises(InputError, match="nothing assesses p_prime of seed 2"):
        REWARD_SAMPLES.key(cell({}), "p_prime")
