"""Prompts in tokens: chats by the tokenizer's own template, and which row gets which prompt."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.data.prompts import PromptSet, asked
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.models import tokenizers

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.content == 'no' %}"
    "{{ raise_exception('not this') }}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def chatty(tiny_tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A tokenizer that spells everything, and whose template writes the BOS that it would add."""
    texts = ["The fox sees <user><assistant><system>"] * 3
    made = tokenizers.train_tokenizer(texts, 1_100)
    made.add_special_tokens({"bos_token": "<s>"})
    made.chat_template = TEMPLATE
    return made


def config(folder: Path, *rows: Any, **more: Any) -> dict[str, Any]:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return {"prompts": str(path), "prompt_holdout": 0.0, **more}


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(contents)
    return {"messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]}


def test_a_chat_is_what_its_template_says_with_one_bos(
    chatty: PreTrainedTokenizerFast, tmp_path: Path, store: ArtifactStore
) -> None:
    rows = config(tmp_path, chat("The fox"), chat("a", "b", "c"), {"prompt": "The fox sees"})
    node = Node("load", 0, {})
    store.put(node, tokenizers.tokenizer_files(chatty), Cost(0, 0, 0, 0, "cpu", 1))
    for tokenizer in (chatty, tokenizers.read_tokenizer(store, node)):  # and beside every student
        found = asked(rows, tokenizer).rows.lists()
        assert tokenizer.decode(found[0]) == "<s><user>The fox<assistant>"
        assert tokenizer.decode(found[1]) == "<s><user>a<assistant>b<user>c<assistant>"
        assert found[2] == tokenizers.encode_prompt(tokenizer, "The fox sees")
        assert [ids.count(tokenizer.bos_token_id) for ids in found[:2]] == [1, 1]
        own = tokenizer.apply_chat_template(
            chat("The fox")["messages"], add_generation_prompt=True, return_dict=False
        )
        assert found[0] == own


def test_a_chat_that_has_no_template_or_is_refused_by_it(
    chatty: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"row 2: the tokenizer's chat template .*\(not this\)"):
        asked(config(tmp_path, {"prompt": "x"}, chat("no")), chatty)
    plain = copy.deepcopy(chatty)
    plain.chat_template = None
    with pytest.raises(InputError, match=r"row 1: it has messages, and .* no chat template"):
        asked(config(tmp_path, chat("The fox")), plain)


def test_a_prompt_that_can_t_be_spelled_is_named(
    tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = config(tmp_path, {"prompt": "The fox"}, {"prompt": "The ÿ"})
    with pytest.raises(InputError, match=r"row 2, prompt = 'The ÿ': the vocabulary can't spell"):
        asked(rows, tiny_tokenizer)


def test_learned_from_and_judged_by(
    tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    words = ["fox", "river", "train", "moon", "old baker"]
    rows = config(tmp_path, *({"prompt": f"The {word}"} for word in words), prompt_holdout=0.4)
    learned = asked(rows, tiny_tokenizer)
    judged = asked({**rows, "prompts_of": "holdout"}, tiny_tokenizer)
    assert (len(learned), len(judged)) == (3, 2)
    assert set(learned.ids) | set(judged.ids) == {"1", "2", "3", "4", "5"}
    assert judged.weight_K.tolist() == [0.5, 0.5]


def test_prompts_are_drawn_by_weight_and_kept_together() -> None:
    rows = PromptRows.of([[1], [2, 3], [4]])
    prompts = PromptSet(("a", "b", "c"), rows, np.array([0.2, 0.5, 0.3]))
    drawn = prompts.drawn(40_000, 3, "test/prompts")
    share_K = torch.bincount(drawn) / len(drawn)
    torch.testing.assert_close(share_K, torch.tensor([0.2, 0.5, 0.3]), atol=0.01, rtol=0)
    groups = prompts.drawn(40, 3, "test/prompts", together=8).view(5, 8)
    assert bool((groups == groups[:, :1]).all())
    assert torch.equal(groups[:, 0], drawn[:5])
    assert prompts.evenly(5, start=2).tolist() == [2, 0, 1, 2, 0]
    assert PromptSet.one([5]).drawn(3, 0, "x").tolist() == [0, 0, 0]
