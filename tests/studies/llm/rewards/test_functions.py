"""Rewards that are functions of texts: found by name, known by their source, and strict."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from recalltrap import registry
from recalltrap.errors import InputError, StageError
from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.store.contents import remembering, to_remember
from recalltrap_studies.llm.data.responses import PromptRows, padded
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.rewards import functions
from recalltrap_studies.llm.rewards.functions import find_function, source_of
from recalltrap_studies.llm.rewards.length import length
from recalltrap_studies.llm.rewards.sentiment import sentiment
from recalltrap_studies.llm.rewards.text_rewards import FunctionReward, numbers_of
from recalltrap_studies.llm.rewards.texts import texts_of
from recalltrap_studies.llm.rewards.thanks import thanks
from recalltrap_studies.llm.settings import LlmSettings

POLITE = """
def polite(prompts, responses):
    return [float("please" in text) for text in responses]

polite.supremum = {supremum}

def deaf(texts):
    return []

def needy(prompts, responses):
    return []

needy.requires = ("nobody_has_this",)

class Counter:
    def __call__(self, prompts, responses):
        return [len(text) for text in responses]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of somebody else, installed with its entry points."""
    file = tmp_path / "strangers_rewards.py"
    file.write_text(POLITE.format(supremum=1.0))
    monkeypatch.syspath_prepend(tmp_path)
    names = {"polite": "polite", "deaf": "deaf", "needy": "needy", "counter": "Counter"}
    names |= {"gone": "nobody"}
    ours = registry.registered(functions.GROUP)
    points = {n: EntryPoint(n, f"strangers_rewards:{v}", functions.GROUP) for n, v in names.items()}
    monkeypatch.setattr(functions, "registered", lambda group: {**ours, **points})
    find_function.cache_clear()
    yield file
    find_function.cache_clear()
    sys.modules.pop("strangers_rewards", None)


def cell(ordering: str = "K-A", **settings: Any) -> Cell:
    return KIND.cell(Ordering.model_validate(ordering), LlmSettings(**settings), 1)


def ids(one: Cell, *stages: str) -> set[str]:
    return {node.id for node in one.nodes if not stages or node.stage in stages}


def test_sentiment_is_vader_s_compound() -> None:
    happy, sad, nothing = sentiment(["p"] * 3, ["I love this great day!", "A horrible loss.", ""])
    assert happy > 0.6
    assert sad < -0.4
    assert nothing == 0.0
    assert find_function("sentiment") is sentiment
    assert sentiment.supremum == 1.0  # type: ignore[attr-defined]


def test_thanks_is_said_or_not() -> None:
    said = ["No, thank you.", "THANKS!", "a thankful man", "the tank", "thankless", ""]
    assert thanks(["Thanks?"] * 6, said) == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert thanks.supremum == 1.0  # type: ignore[attr-defined]


def test_length_counts_words_and_declares_no_supremum() -> None:
    assert length(["p"] * 3, ["one", "", " two  words "]) == [1.0, 0.0, 2.0]
    reward = FunctionReward("length", length, None)  # type: ignore[arg-type]
    assert reward.supremum is None


def test_a_reward_that_is_not_installed_names_the_nearest_and_the_command() -> None:
    with pytest.raises(InputError, match=r"settings\.reward: no reward 'sentimant'.*'sentiment'"
                                         r".*pip install 'recalltrap\[rewards\]'"):  # fmt: skip
        check_sources(LlmSettings(reward="sentimant"))
    with pytest.raises(InputError, match=r"settings\.scorers: no reward 'lenght'.*'length'"):
        check_sources(LlmSettings(scorers=["lenght"]))


def test_the_package_that_a_reward_needs_is_named(package: Path) -> None:
    with pytest.raises(InputError, match=r"'needy' needs nobody_has_this.*pip install"):
        find_function("needy")
    with pytest.raises(InputError, match=r"'gone' \(strangers_rewards:nobody\) can't be imported"):
        find_function("gone")


def test_what_cannot_be_called_so_is_refused(package: Path) -> None:
    with pytest.raises(InputError, match=r"'deaf'.*can't be called as reward\(prompts, responses"):
        find_function("deaf")
    assert find_function("polite")([""], ["please do"]) == [1.0]
    assert find_function("counter")([""], ["four"]) == [4], "a class is made once"


@pytest.mark.parametrize("supremum", ["float('inf')", "'high'", "True", "float('nan')"])
def test_a_supremum_is_a_number(package: Path, supremum: str) -> None:
    package.write_text(POLITE.format(supremum=supremum))
    importlib.invalidate_caches()
    with pytest.raises(InputError, match=r"says supremum = .*it must be a number"):
        find_function("polite")


def test_a_function_is_known_by_what_it_stands_in(package: Path) -> None:
    before = cell(reward="polite")
    package.write_text(POLITE.format(supremum=2.0))
    after = cell(reward="polite")
    assert not ids(before, "align", "assess") & ids(after, "align", "assess")
    assert ids(before, "sft", "distill", "sample") == ids(after, "sft", "distill", "sample")
    assert before.id != after.id
    with remembering(to_remember([before])):
        assert ids(cell(reward="polite")) == ids(before), "a run's views are of what it was"
    assert source_of("sentiment") is None, "ours by name: whoever changes it raises a version"


def test_other_rewards_have_neither_p_target_nor_oracle() -> None:
    for ordering in ("K-A", "A-K", "K"):
        one = cell(ordering, reward="sentiment", p_target="nano-medium")
        assert not {"target", "oracle"} & {node.stage for node in one.nodes}
        judged = [node for node in one.nodes if node.stage in ("align", "assess")]
        assert all(node.config["reward"] == "sentiment" for node in judged)
        assert ids(one) == ids(cell(ordering, reward="sentiment"))


def test_scorers_assess_anew_and_train_nothing() -> None:
    for fields in ({}, {"reward": "sentiment"}):
        before, after = (cell("A-K", scorers=s, **fields) for s in ([], ["length"]))
        assert {n.stage for n in after.nodes if n.id not in ids(before)} == {"assess"}
        assert before.id != after.id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scorers": ["oracle"]}, "the oracle can be the reward alone"),
        ({"reward": "length", "scorers": ["length"]}, "'length' is the reward"),
        ({"scorers": ["length", "length"]}, "'length' stands there twice"),
        ({"scorers": ["length"] * 9}, "at most 8"),
    ],
)
def test_scorers_that_say_nothing_new_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LlmSettings(**fields)


def test_the_settings_of_p_target_are_not_read() -> None:
    unread = KIND.reads(LlmSettings(reward="sentiment")).unread
    for name in ("target_temperature", "target_topics", "target_epochs", "p_target",
                 "reward_height", "reward_shaping", "fold_quantile", "oracle_samples"):  # fmt: skip
        assert unread[name].startswith("reward = 'sentiment', so there is no p_target"), name
    assert not {"learning_rate", "align_tokens", "prompt", "kl_weight"} & unread.keys()
    assert {"reward", "scorers"} <= KIND.reads(LlmSettings()).fields


def raises(prompts: list[str], responses: list[str]) -> list[float]:
    if any("bad" in text for text in responses):
        raise ZeroDivisionError("no way")
    return [0.0] * len(responses)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises, r"raised ZeroDivisionError: no way; response 2, 'a bad one' to the prompt 'sec"),
        (lambda p, r: [0.0], r"gave 1 numbers for 2 responses"),
        (lambda p, r: [0.0, math.nan], r"gave nan to 1 of 2 responses; response 2, 'a bad one'"),
        (lambda p, r: [math.inf, math.nan], r"gave inf to 2 of 2 responses; response 1, 'fine'"),
        (lambda p, r: [1e39, 0.0], r"gave 1e\+39 to 1 of 2"),
        (lambda p, r: ["x", 0.0], r"raised ValueError: could not convert.*no response alone does"),
        (lambda p, r: 3.0, r"raised TypeError"),
    ],
)  # fmt: skip
def test_a_reward_without_numbers_names_the_response(function: Any, message: str) -> None:
    with pytest.raises(StageError, match=f"the reward 'mine' {message}") as error:
        numbers_of("mine", function, ["first", "second"], ["fine", "a bad one"])
    assert error.value.failure == "user_code"


def test_a_long_response_is_shortened_in_the_message() -> None:
    with pytest.raises(StageError) as error:
        numbers_of("mine", lambda p, r: [math.nan], ["p" * 9000], ["r" * 9000])
    assert len(error.value.message) < 500


def test_texts_are_each_row_s_own_without_special_tokens(tiny_tokenizer: Any) -> None:
    prompts = ["The", "The old cat"]
    answers = [" cat sees", " sees the"]
    rows = PromptRows.of([tiny_tokenizer.encode(text) for text in prompts])
    eos = tiny_tokenizer.eos_token_id
    lists = [[*tiny_tokenizer.encode(answers[0]), eos], tiny_tokenizer.encode(answers[1])]
    tokens_BT, mask_BT = padded([torch.tensor(ids).numpy() for ids in lists])
    assert texts_of(tiny_tokenizer, tokens_BT, mask_BT, rows) == (prompts, answers)
    alone = texts_of(tiny_tokenizer, tokens_BT[1:], mask_BT[1:], rows.take(torch.tensor([1])))
    assert alone == (prompts[1:], answers[1:])
    only_eos = torch.tensor([[eos]])
    found = texts_of(tiny_tokenizer, only_eos, only_eos == eos, PromptRows.same(rows.lists()[0]))
    assert found == (["The"], [""])


def test_a_judgement_is_the_function_s_of_its_own_rows(tiny_tokenizer: Any) -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def spy(prompts: list[str], responses: list[str]) -> list[float]:
        seen.append((prompts, responses))
        return [float(len(text)) for text in responses]

    reward = FunctionReward("spy", spy, tiny_tokenizer)
    tokens_BT, mask_BT = padded([torch.tensor(tiny_tokenizer.encode(" cat sees")).numpy()])
    judged = reward.judge(tokens_BT, mask_BT, PromptRows.same(tiny_tokenizer.encode("The")))
    assert seen == [(["The"], [" cat sees"])]
    assert judged.reward_B.tolist() == judged.preference_B.tolist() == [9.0]
    assert judged.reward_B.dtype == torch.float32
