"""The reward and the scorers of a stage, made from what its node holds."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.rewards.functions import find_function, source_of
from recalltrap_studies.llm.rewards.oracle import read_oracle
from recalltrap_studies.llm.rewards.protocol import Reward
from recalltrap_studies.llm.rewards.text_rewards import FunctionReward
from recalltrap_studies.llm.rewards.values import (
    REWARD,
    source_place,
)
from recalltrap_studies.llm.stage_settings import ORACLE, SCORER_PLACES


def read_reward(store: ArtifactStore, node: Node, tokenizer: PreTrainedTokenizerBase) -> Reward:
    """What an alignment maximises, and an assessment judges by; `tokenizer` is the models'.

    Raises:
        InputError: it isn't installed here, or another than the study was planned with.
    """
    if ORACLE in node.parents:
        return read_oracle(store, node.parents[ORACLE], node.parents["p_target"])
    return _judge(node, REWARD, tokenizer)


def read_scorers(
    store: ArtifactStore, node: Node, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Reward]:
    """What an assessment judges by besides, by its place."""
    held = [place for place in SCORER_PLACES if place in node.config]
    return {place: _judge(node, place, tokenizer) for place in held}


def _judge(node: Node, place: str, tokenizer: PreTrainedTokenizerBase) -> Reward:
    name = str(node.config[place])
    function = find_function(name)
    if source_of(name) != node.config.get(source_place(place)):
        raise InputError(
            f"the reward {name!r} is another here than when the study was planned: its module has "
            "changed. Install the same version on every machine, or run again: what depends on it "
            "is then built anew"
        )
    return FunctionReward(name, function, tokenizer)
