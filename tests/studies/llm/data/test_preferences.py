"""Files of preferences: what is learned from them, in tokens, and every row that can't be."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from trl.data_utils import extract_prompt

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.preference_files import (
    NO_ANSWER,
    read_preferences,
    shared_words,
)
from recalltrap_studies.llm.data.preferences import (
    PreferencePairs,
    check_preferences,
    learned_from,
)
from recalltrap_studies.llm.models import tokenizers

USER = {"role": "user", "content": "The fox?"}
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PAIR = {"prompt": "The fox", "chosen": " sees the hill.", "rejected": " loses two birds."}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def written(folder: Path, *rows: Any) -> str:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def learned(
    spec: str, tokenizer: PreTrainedTokenizerFast, context: int = 64, **config: Any
) -> PreferencePairs:
    return learned_from({"preferences": spec, "align_tokens": 32, **config}, tokenizer, context)


def texts(pairs: PreferencePairs, tokenizer: Any) -> list[list[str]]:
    """Of each pair prompt, chosen and rejected as text, special tokens among it."""
    prompts = [tokenizer.decode(ids) for ids in pairs.prompts.lists()]
    return [
        [prompts[int(place)],
         *(tokenizer.decode(t[m]) for t, m in zip(tokens, mask, strict=True))]
        for place, tokens, mask in zip(
            pairs.prompt_P, pairs.tokens_P2T, pairs.mask_P2T, strict=True
        )
    ]  # fmt: skip


@pytest.fixture
def chatty() -> PreTrainedTokenizerFast:
    """A tokenizer that spells everything, and ends each message of a chat with another token than
    the EOS."""
    made = tokenizers.train_tokenizer(["The fox sees <user><assistant></s>"] * 3, 1_100)
    made.chat_template = TEMPLATE
    return made


def test_texts_are_learned_up_to_their_eos_and_each_prompt_stands_once(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    other = {"prompt": "The moon", "chosen": " paints its name.", "rejected": " counts."}
    pairs = learned(written(tmp_path, PAIR, other, "", {**PAIR, "rejected": "."}), tiny_tokenizer)
    end = tokenizers.END
    assert texts(pairs, tiny_tokenizer) == [
        ["The fox", f" sees the hill.{end}", f" loses two birds.{end}"],
        ["The moon", f" paints its name.{end}", f" counts.{end}"],
        ["The fox", f" sees the hill.{end}", f".{end}"],
    ]
    assert pairs.prompt_P.tolist() == [0, 1, 0]
    rows = pairs.examples(before=3)
    assert rows["prompt"].tolist() == [[3, 3], [4, 4], [3, 3]]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "pairs.bin"
    rows = [PAIR, {**PAIR, "prompt": "The moon"}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert read_preferences(str(path)) == read_preferences(written(tmp_path, *rows))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [says("A fox.")], "rejected": [says("No.")]},
        {"chosen": [USER, says("A fox.")], "rejected": [USER, says("No.")]},
        {"prompt": "The fox?", "chosen": [USER, says("A fox.")], "rejected": [USER, says("No.")]},
        {"prompt": [USER], "chosen": "A fox.", "rejected": "No."},
        {"prompt": [USER], "chosen": f"A fox.{tokenizers.END}", "rejected": "No."},
    ],
)
def test_of_a_chat_s_template_nothing_is_learned(
    row: dict[str, Any], tmp_path: Path, chatty: PreTrainedTokenizerFast
) -> None:
    (found,) = texts(learned(written(tmp_path, row), chatty), chatty)
    end = tokenizers.END
    assert found == ["<user>The fox?</s><assistant>", f"A fox.{end}", f"No.{end}"]


def test_a_prompt_that_is_implied_ends_between_words() -> None:
    assert shared_words("The cat sat.", "The car sat.") == "The"
    assert shared_words("The cat sat.", "The cat ran.") == "The cat"
    assert shared_words("The cat", "The cats") == "The"
    assert shared_words("The cat", "The cat ran") == "The cat"
    assert shared_words("A", "B") == ""


@settings(max_examples=40)
@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_what_is_implied_is_trl_s_but_for_half_words(before: str, one: str, other: str) -> None:
    chosen, rejected = before + one, before + other
    shared = shared_words(chosen, rejected)
    assert chosen.startswith(shared)
    assert rejected.startswith(shared)
    # TRL's stops a letter too early where one begins the other, and is lost where nothing is alike.
    if chosen[:1] == rejected[:1] and chosen[: len(rejected)] != rejected[: len(chosen)]:
        theirs = str(extract_prompt({"chosen": chosen, "rejected": rejected})["prompt"])
        assert theirs.startswith(shared)
        assert not theirs[len(shared) :].strip().count(" "), "one word's beginning at most"


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_what_chats_imply_is_trl_s(asked: int, rest: int, swap: bool) -> None:
    before = [USER, says("What of it?")] * (asked - 1) + [USER]
    more = [USER, says("More.")] * (rest // 3)
    chosen, rejected = [*before, says("A"), *more], [*before, says("B"), *more]
    if swap:
        chosen, rejected = rejected, chosen
    row: dict[str, Any] = {"chosen": chosen, "rejected": rejected}
    theirs = extract_prompt(row)
    with tempfile.TemporaryDirectory() as folder:
        (pair,) = read_preferences(written(Path(folder), row))
    assert list(pair.question.messages) == theirs["prompt"]
    one = len(theirs["chosen"]) == 1
    assert pair.fault == (None if one else NO_ANSWER)
    if one:
        assert [says(pair.chosen)] == theirs["chosen"]


UNUSABLE = [
    ({**PAIR, "rejected": PAIR["chosen"]}, r"chosen equals rejected \(row 2\)"),
    ({"chosen": "The fox", "rejected": "The fox"}, r"chosen equals rejected \(row 2\)"),
    ({"chosen": [USER, says("A")], "rejected": [USER, says("A")]}, r"chosen equals rejected"),
    ({**PAIR, "rejected": ""}, r"an answer is empty \(row 2\)"),
    ({"chosen": "A fox", "rejected": "The fox"}, r"begin with no prompt \(row 2\)"),
    ({**PAIR, "chosen": " sees" * 40},
     r"an answer, EOS included, is longer than settings\.align_tokens = 32 \(row 2\)"),
    ({**PAIR, "prompt": "The " + "fox " * 29 + "fox", "chosen": " sees" * 31},
     r"prompt and answer are longer than the context of the models, which is 64? \(row 2\)"),
    ({**PAIR, "chosen": " sees ¿"}, r"the vocabulary can't spell chosen \(row 2\)"),
    ({**PAIR, "rejected": f" sees{tokenizers.END} it"}, r"rejected holds the tokenizer's EOS in"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "fault"), UNUSABLE)
def test_a_row_that_cannot_be_learned_from_is_refused_by_number_or_dropped(
    row: dict[str, Any], fault: str, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    spec = written(tmp_path, PAIR, row)
    context = 60 if "context" in fault else 64
    fault = fault.replace("64?", str(context))
    says = rf"'{spec}': 1 of its 2 rows can't be learned from: .*{fault}"
    with pytest.raises(InputError, match=rf"{says}.*\. Mend them, or set preferences_unusable"):
        learned(spec, tiny_tokenizer, context)
    kept = learned(spec, tiny_tokenizer, context, preferences_unusable="drop")
    assert len(kept.prompt_P) == 1
    alone = written(tmp_path, row)
    with pytest.raises(InputError, match=r"1 of its 1 rows can't .* Give rows that can"):
        learned(alone, tiny_tokenizer, context, preferences_unusable="drop")


BROKEN = [
    ({**PAIR, "score": 1}, r"row 2: unknown column 'score'"),
    ({"prompt": "The", "chosen": " x"}, r"row 2: it has no `rejected`"),
    ({**PAIR, "chosen": 7}, r"row 2: chosen = 7: both answers are texts, or both are lists"),
    ({**PAIR, "chosen": [says("x")]}, r"row 2: chosen = .*both answers are texts"),
    ({**PAIR, "prompt": 7}, r"row 2: prompt = 7 is no text"),
    ({**PAIR, "prompt": [says("x")]}, r"row 2: prompt ends with the assistant's message"),
    ({"prompt": "else", "chosen": [USER, says("A")], "rejected": [USER, says("B")]},
     r"row 2: prompt = 'else' isn't in the messages that chosen and rejected begin with"),
    ({"chosen": [USER, {"role": "x", "content": "A"}], "rejected": [USER]},
     r"row 2: chosen\[1\]\.role = 'x'"),
    ("{", r"row 2: no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "says"), BROKEN)
def test_a_row_that_is_none_is_refused_whatever_is_dropped(
    row: Any, says: str, tmp_path: Path
) -> None:
    spec = written(tmp_path, PAIR, row)
    with pytest.raises(InputError, match=says):
        check_preferences(spec, None, 32, {}, "drop")


def test_an_empty_file_and_one_in_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it holds no preference"):
        read_preferences(written(tmp_path, "", " "))
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(PAIR).encode() + b'\n{"prompt": "caf\xe9"}')
    with pytest.raises(InputError, match=r"row 2: not UTF-8 text \(byte 15 of the line\)"):
        read_preferences(str(path))


def test_the_summary_counts_what_repeats_and_what_contradicts(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    turned = {**PAIR, "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}
    moon = {**PAIR, "prompt": "The moon"}
    ties = [{**PAIR, "rejected": PAIR["chosen"]}] * 12
    spec = written(tmp_path, PAIR, PAIR, moon, turned, *ties)
    assert check_preferences(spec, tiny_tokenizer, 32, {"p_prime": 64}, "drop") == (
        f"settings.preferences = {spec!r}: 4 pairs to 2 prompts; 1 repetition of an earlier "
        "row, counted again; 1 pair also the other way round; 12 rows dropped: chosen "
        "equals rejected (rows 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 2 more)"
    )


def test_both_orderings_learn_from_the_same_rows(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    long = {**PAIR, "prompt": "The " + "fox " * 19 + "fox"}
    spec = written(tmp_path, PAIR, long)
    contexts = {"p_prime": 64, "student": 20}
    with pytest.raises(InputError, match=r"row 2: .* context of settings\.student, which is 20, "):
        check_preferences(spec, tiny_tokenizer, 16, contexts, "drop")
    short = dict.fromkeys(contexts, 20)
    assert "1 row dropped" in check_preferences(spec, tiny_tokenizer, 16, short, "drop")


def test_without_a_tokenizer_words_are_counted(tmp_path: Path) -> None:
    spec = written(tmp_path, PAIR, {**PAIR, "chosen": " sees" * 32})
    with pytest.raises(InputError, match=r"longer than settings\.align_tokens = 32 \(row 2\)"):
        check_preferences(spec, None, 32, {}, "refuse")
    assert "2 pairs" in check_preferences(spec, None, 33, {}, "refuse")
