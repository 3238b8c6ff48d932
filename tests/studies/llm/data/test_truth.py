"""Files of truth: texts and answers in tokens, and every way to write one wrong."""

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
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.truth import check_truth, encoded
from recalltrap_studies.llm.data.truth_files import read_truth
from recalltrap_studies.llm.models import tokenizers

CHAT = [{"role": "user", "content": "The fox?"}]
ANSWER = {"prompt": "The fox", "response": " sees the hill."}
END = tokenizers.END


def written(folder: Path, *rows: Any, name: str = "truth.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def shown(spec: str, tokenizer: Any) -> list[tuple[str, str]]:
    """Prompt and answer of every row as text, special tokens among it."""
    rows = encoded(spec, tokenizer).to_pylist()
    return [(tokenizer.decode(r["prompt_ids"]), tokenizer.decode(r["tokens"])) for r in rows]


def test_answers_are_scored_after_their_prompts_and_texts_after_their_first_token(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    spec = written(tmp_path, ANSWER, {"text": "The moon counts."})
    assert shown(spec, tiny_tokenizer) == [
        ("The fox", f" sees the hill.{END}"), ("The", f" moon counts.{END}")
    ]  # fmt: skip
    for row in encoded(spec, tiny_tokenizer).to_pylist():
        whole = tiny_tokenizer.decode(row["prompt_ids"] + row["tokens"])
        assert row["prompt_ids"] + row["tokens"] == tiny_tokenizer.encode(whole)


def test_a_text_begins_with_the_bos_that_its_tokenizer_adds(tmp_path: Path) -> None:
    made = tokenizers.train_tokenizer(["The moon counts."] * 3, 1_100)
    made.add_special_tokens({"bos_token": "<s>"})
    bos = int(made.convert_tokens_to_ids("<s>"))  # type: ignore[arg-type]
    made.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", None, [("<s>", bos)])
    spec = written(tmp_path, {"text": "The moon"}, {"text": "<s>The moon"})
    assert shown(spec, made) == [("<s>", f"The moon{END}")] * 2


def test_of_a_chat_the_answer_alone_is_scored(tmp_path: Path) -> None:
    made = tokenizers.train_tokenizer(["The fox sees <user><assistant></s>"] * 3, 1_100)
    made.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}<a>"
    spec = written(tmp_path, {"messages": CHAT, "response": "A fox."})
    assert shown(spec, made) == [("<user>The fox?</s><a>", f"A fox.{END}")]


def test_a_text_file_has_a_text_in_a_line_or_in_a_paragraph(tmp_path: Path) -> None:
    def texts(content: str) -> list[tuple[int, str]]:
        spec = written(tmp_path, content, name="truth.txt")
        return [(row.row, row.text) for row in read_truth(spec)]

    assert texts("\ufeffThe sea\r\nThe hill \r\n") == [(1, "The sea"), (2, "The hill")]
    assert texts("\nThe sea\nsings\n\n \nThe hill\n") == [(2, "The sea\nsings"), (6, "The hill")]


@settings(max_examples=30)
@given(st.lists(st.text("ab c", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=6))
def test_the_texts_of_a_file_are_those_that_were_written(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for between in ("\n", "\n\n"):
            spec = written(Path(folder), between.join(texts), name="t.txt")
            assert [row.text for row in read_truth(spec)] == texts


def test_parquet_says_the_same(tmp_path: Path) -> None:
    rows = [{**ANSWER, "text": None, "group": "a"},
            {"prompt": None, "response": None, "text": "The sea", "group": "b"}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "truth")
    assert read_truth(str(tmp_path / "truth")) == read_truth(written(tmp_path, *rows))


BROKEN = [
    ({"text": "x", "id": 1}, r"row 2: unknown column 'id'"),
    ({"text": ""}, r"row 2: text = '' is no text"),
    ({"text": "x", "response": "y"}, r"row 2: it has both `text` and `response`"),
    ({"prompt": "x"}, r"row 2: it has `prompt`\. Give a `text`, or one of `prompt`"),
    ({}, r"row 2: it has nothing\."),
    ({"prompt": "x", "messages": CHAT, "response": "y"}, r"row 2: it has `prompt` and `messages`"),
    ({"prompt": "x", "response": 3}, r"row 2: response = 3 is no text"),
    ({"messages": [{"role": "assistant", "content": "x"}], "response": "y"},
     r"row 2: the last message is the assistant's"),
    ({**ANSWER, "group": True}, r"row 2: group = True is neither"),
    ({**ANSWER, "group": "a"}, r"row 1: it has no group, and other rows have one"),
    ("{", r"row 2: no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "says"), BROKEN)
def test_a_row_that_is_none_is_refused(row: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"settings\.truth = .*{says}"):
        read_truth(written(tmp_path, ANSWER, row))


def test_an_empty_file_and_other_encodings_are_refused_with_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    for content, says in (
        (b"\n \n", r"it holds no text"),
        ("Der Fluss\nDer H\u00fcgel".encode("latin-1"), r"line 2 is not UTF-8 .*\(byte 5 of"),
        ("The sea".encode("utf-16"), r"line 1 is not UTF-8 text \(byte 0 of the line\)"),
        ("The sea".encode("utf-16-le"), r"line 1 holds the control character '\\x00'"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_truth(str(path))
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xfc"}')
    with pytest.raises(InputError, match=r"row 2: not UTF-8 text \(byte 10 of the line\)"):
        read_truth(str(path))


def test_too_many_groups_are_refused(tmp_path: Path) -> None:
    rows = [{**ANSWER, "group": number} for number in range(101)]
    with pytest.raises(InputError, match="it has 101 groups"):
        read_truth(written(tmp_path, *rows))


def test_what_is_too_long_or_cannot_be_spelled_is_refused_by_its_row(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    contexts = {"p_prime": 64, "student": 9}
    good = written(tmp_path, {**ANSWER, "group": "a"}, {"text": "The sea.", "group": 2})
    assert check_truth(good, None, contexts).endswith("overall recall is of its 2 rows in 2 groups")
    long = written(tmp_path, ANSWER, {"text": "The fox sees the hill and the fox sees the hill"})
    for tokenizer in (tiny_tokenizer, None):
        with pytest.raises(InputError, match=r"row 2: it has \d+ tokens.* settings\.student is 9"):
            check_truth(long, tokenizer, contexts)
    strange = written(tmp_path, ANSWER, {"text": "The ¿"})
    with pytest.raises(InputError, match="row 2: the vocabulary can't spell text"):
        check_truth(strange, tiny_tokenizer, {})
