"""The reward and the scorers of a stage, made from what its node holds."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.contents import loaded, opened
from recalltrap_studies.llm.data.prompt_files import PromptFile, read_prompts
from recalltrap_studies.llm.data.prompts import encode
from recalltrap_studies.llm.rewards.classifier import (
    Chats,
    ClassifierReward,
    read_classifier,
)
from recalltrap_studies.llm.rewards.functions import find_function, source_of
from recalltrap_studies.llm.rewards.labels import label_index
from recalltrap_studies.llm.rewards.oracle import read_oracle
from recalltrap_studies.llm.rewards.protocol import Reward
from recalltrap_studies.llm.rewards.text_rewards import FunctionReward
from recalltrap_studies.llm.rewards.values import (
    REWARD,
    is_at,
    label_place,
    name_at,
    sigmoid_place,
    source_place,
)
from recalltrap_studies.llm.stage_settings import ORACLE, SCORER_PLACES


def read_reward(store: ArtifactStore, node: Node, tokenizer: PreTrainedTokenizerBase) -> Reward:
    """What an alignment maximises, and an assessment judges by; `tokenizer` is the models'.

    Raises:
        InputError: it can't be had here, or is another than the study was planned with.
    """
    if ORACLE in node.parents:
        return read_oracle(store, node.parents[ORACLE], node.parents["p_target"])
    return _judge(store, node, REWARD, tokenizer)


def read_scorers(
    store: ArtifactStore, node: Node, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Reward]:
    """What an assessment judges by besides, by its place."""
    held = [place for place in SCORER_PLACES if is_at(node, place)]
    return {place: _judge(store, node, place, tokenizer) for place in held}


def _judge(
    store: ArtifactStore, node: Node, place: str, tokenizer: PreTrainedTokenizerBase
) -> Reward:
    if place in node.parents:
        return _classifier(store, node, place, tokenizer)
    name = str(node.config[place])
    function = find_function(name)
    if source_of(name) != node.config.get(source_place(place)):
        raise InputError(
            f"the reward {name!r} is another here than when the study was planned: its module has "
            "changed. Install the same version on every machine, or run again: what depends on it "
            "is then built anew"
        )
    return FunctionReward(name, function, tokenizer)


def _classifier(
    store: ArtifactStore, node: Node, place: str, speaker: PreTrainedTokenizerBase
) -> ClassifierReward:
    source, config = node.parents[place], node.config
    model, tokenizer, spec = read_classifier(store, source)
    label = label_index(model.config, config.get(label_place(place)), spec, loaded(source)[0])
    sigmoid = bool(config.get(sigmoid_place(place), False))
    chats = chats_of(node, speaker) if tokenizer.chat_template else {}
    return ClassifierReward(name_at(node, place), model, tokenizer, speaker, label, sigmoid, chats)


def chats_of(node: Node, tokenizer: PreTrainedTokenizerBase) -> Chats:
    """The messages behind the prompts that a node asks, those of its file that have any."""
    if "prompts" not in node.config:
        return {}
    spec = opened(node.config["prompts"], "prompts")
    written = [prompt for prompt in read_prompts(spec) if prompt.text is None]
    file = PromptFile(spec)
    return {tuple(encode(tokenizer, prompt, file)): prompt.messages for prompt in written}
