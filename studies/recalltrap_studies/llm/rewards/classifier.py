"""Rewards that a sequence classifier gives: one logit, or that of a named label.

It reads with its own tokenizer: a chat by its own template, where it has one, else the prompt's
text followed by the response's. Legend: B responses, L tokens of a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.contents import Content
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.contents import loaded, opened
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.models import architectures, devices, families, folders, upstream
from recalltrap_studies.llm.models.families import first_line
from recalltrap_studies.llm.models.pretrained import SOURCE_FILE, load_whole, placed
from recalltrap_studies.llm.models.tokenizers import set_pad
from recalltrap_studies.llm.rewards.labels import check_class
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.llm.rewards.text_rewards import check_finite
from recalltrap_studies.llm.rewards.texts import texts_of

TOKENS_AT_ONCE = 8192
"""Of a batch, padding included; a single text may have more."""

Chats = Mapping[tuple[int, ...], Sequence[Mapping[str, str]]]
"""The messages behind prompts, by the prompts' token ids."""


@dataclass(frozen=True)
class ClassifierReward:
    """A classifier as a reward; see `protocol.Reward`.

    `tokenizer` is its own, and `speaker` that of the models whose responses it reads.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    speaker: PreTrainedTokenizerBase
    label: int = 0
    sigmoid: bool = False
    chats: Chats = field(default_factory=dict)

    @property
    def supremum(self) -> float | None:
        """1 of a probability; logits have none."""
        return 1.0 if self.sigmoid else None

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        """See `protocol.Reward`."""
        asked, answers = texts_of(self.speaker, tokens_BT, mask_BT, prompts)
        ids = prompts.expanded(len(answers)).lists()
        rows = [self._encoded(*row) for row in zip(ids, asked, answers, strict=True)]
        reward_B = self._scores(rows).to(tokens_BT.device)
        check_finite(self.name, reward_B.tolist(), asked, answers)
        return Judgement(reward_B, reward_B)

    def _encoded(self, prompt_ids: list[int], prompt: str, response: str) -> list[int]:
        """What the classifier reads, cut on the left to its context."""
        messages = self.chats.get(tuple(prompt_ids))
        options: dict[str, Any] = {"truncation": False}
        if limit := context_of(self.model.config, self.tokenizer):
            options = {"truncation": True, "max_length": limit}
        text, added = prompt + response, True
        if messages is not None and self.tokenizer.chat_template:
            chat = [*(dict(m) for m in messages), {"role": "assistant", "content": response}]
            text, added = str(self.tokenizer.apply_chat_template(chat, tokenize=False)), False
        return [int(i) for i in self.tokenizer.encode(text, add_special_tokens=added, **options)]

    @torch.no_grad()
    def _scores(self, rows: Sequence[list[int]]) -> Tensor:
        """The chosen logit of each text [B], float32: texts of like length go together."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        score_B = torch.empty(len(rows))
        while order:
            most = max(TOKENS_AT_ONCE // max(len(rows[order[-1]]), 1), 1)
            batch, order = order[-most:], order[:-most]
            padded: Any = self.tokenizer.pad(
                {"input_ids": [rows[row] for row in batch]}, return_tensors="pt"
            )
            where = self.model.device
            logits_BV = self.model(
                input_ids=padded["input_ids"].to(where),
                attention_mask=padded["attention_mask"].to(where),
            ).logits
            score_B[batch] = logits_BV[:, self.label].float().cpu()
        return score_B.sigmoid() if self.sigmoid else score_B


def context_of(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """How many tokens a classifier reads at most; None where nobody says."""
    stated = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    known = [int(number) for number in stated if number and 0 < number < 10**9]
    return min(known, default=None)


def look_at(
    spec: str, field: str, *, local_only: bool = False
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Configuration and tokenizer of a classifier, without its weights.

    Raises:
        Unreachable: they can't be had; names the setting and the way out.
        InputError: it is no sequence classifier.
    """
    name, revision = _location(spec, field)
    here = local_only or architectures.must_be_here(spec)
    where: dict[str, Any] = {"revision": revision, "local_files_only": here}
    if architectures.is_folder(spec):
        folders.stated_config(spec, field, Path(name))
    try:
        with upstream.quiet():
            config: PreTrainedConfig = AutoConfig.from_pretrained(name, **where)
    except Exception as error:  # each family checks its own numbers in its own way
        raise architectures.unreachable(spec, field, "configuration", error) from None
    if reason := families.too_large(config):
        raise InputError(f"settings.{field} = {spec!r}: {reason}")
    check_class(config, spec, field)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, **where)
    except Exception as error:  # likewise
        raise architectures.unreachable(spec, field, "tokenizer", error) from None
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):  # made of nothing
        raise architectures.unreachable(spec, field, "tokenizer", ValueError("no tokenizer.json"))
    set_pad(tokenizer)
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"
    return config, tokenizer


def _location(spec: str, field: str) -> tuple[str, str | None]:
    if not architectures.is_folder(spec) and not architectures.HUB_ID.fullmatch(spec):
        raise InputError(
            f"settings.{field} = {spec!r}: no such folder, and neither a hub id of a sequence "
            "classifier (owner/name or owner/name@revision) nor an installed reward. Check the path"
        )
    return architectures.location(spec, field)


def load_classifier(
    spec: str, field: str, revision: str | None = None, device: torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier in eval mode with its own tokenizer, on the process's device or the given one.

    Raises:
        InputError: it can't be had, is no classifier, or lacks weights.
    """
    _, tokenizer = look_at(spec, field)
    where = device or devices.device()
    model = load_whole(AutoModelForSequenceClassification, spec, field, revision, where)
    model.config.pad_token_id = tokenizer.pad_token_id  # by which some find where a text ends
    return placed(model, where), tokenizer


def source_files(node: Node) -> dict[str, bytes]:
    """The files of a classifier's `load` node: what its weights are, as `pretrained.source_files`.

    Raises:
        InputError: see `look_at`.
    """
    field, identity = loaded(node)
    spec = opened(identity, field)
    look_at(spec, field)
    source: dict[str, Any] = (
        dict(identity)
        if isinstance(identity, Content)
        else {"spec": spec, "revision": upstream.commit_of(*architectures.location(spec, field))}
    )
    return {SOURCE_FILE: (json.dumps(source, indent=1) + "\n").encode()}


def read_classifier(
    store: ArtifactStore, node: Node
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
    """The classifier of a `load` node, its tokenizer, and where it is now.

    Raises:
        InputError: it is gone, or changed after the study was planned.
    """
    field, identity = loaded(node)
    spec = opened(identity, field)
    revision = json.loads(store.read(node, SOURCE_FILE)).get("revision")
    model, tokenizer = load_classifier(spec, field, revision)
    return model, tokenizer, spec


def blank_classifier(spec: str, field: str) -> tuple[PreTrainedModel, PreTrainedConfig]:
    """A classifier's shape from what is on this machine, without any numbers.

    Raises:
        InputError: see `look_at`; or transformers can't make a model of its configuration.
    """
    config, _ = look_at(spec, field, local_only=True)
    make: Any = AutoModelForSequenceClassification.from_config
    try:
        with torch.device("meta"), upstream.quiet():
            model: PreTrainedModel = make(config)
    except Exception as error:  # whatever a family's own code makes of strange numbers
        raise InputError(
            f"settings.{field} = {spec!r}: transformers can't make a model of its configuration "
            f"({first_line(error)}). Mend its config.json, or give another model"
        ) from None
    return model, config
