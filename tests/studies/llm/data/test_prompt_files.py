"""Files of prompts: what is read of them, which are held out, and every way to write one wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.prompt_files import (
    OPENINGS,
    held_out,
    read_prompts,
    shares,
    split,
)
from recalltrap_studies.llm.fingerprints import prompts_identity

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def written(folder: Path, *rows: Any) -> str:
    """A JSONL file of rows; texts and bytes stand as they are."""
    lines = [
        row if isinstance(row, bytes)
        else (row if isinstance(row, str) else json.dumps(row)).encode()
        for row in rows
    ]  # fmt: skip
    path = folder / "prompts.jsonl"
    path.write_bytes(b"\n".join(lines))
    return str(path)


def test_texts_and_chats_with_and_without_ids_and_weights(tmp_path: Path) -> None:
    spec = written(
        tmp_path, "\ufeff" + json.dumps({"prompt": "The sea"}), "", {"messages": CHAT, "id": "why"},
        {"prompt": "Été", "id": 70, "weight": 2, "messages": None},
    )  # fmt: skip
    found = read_prompts(spec)
    assert [(p.row, p.id, p.text, p.weight) for p in found] == [
        (1, "1", "The sea", 1.0), (3, "why", None, 1.0), (4, "70", "Été", 2.0)
    ]  # fmt: skip
    assert list(found[1].messages) == CHAT
    assert shares(found).tolist() == [0.25, 0.25, 0.5]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "The sea", "id": "a", "weight": 1.5, "messages": None},
            {"prompt": None, "id": "b", "weight": None, "messages": CHAT}]  # fmt: skip
    path = tmp_path / "prompts.bin"  # whatever it's called
    pq.write_table(pa.Table.from_pylist(rows), path)
    plain = read_prompts(written(tmp_path, *rows))
    assert read_prompts(str(path)) == plain


OF_A_ROW = [
    ({"text": "x"}, r"row 2: unknown column 'text'; .*prompt, messages, id, weight"),
    ({"id": "a"}, r"row 2: it has neither `prompt` nor `messages`\. Give one of them"),
    ({"prompt": "x", "messages": CHAT}, r"row 2: it has both `prompt` and `messages`"),
    ({"prompt": ""}, r"row 2: prompt = '' is no text"),
    ({"prompt": 7}, r"row 2: prompt = 7 is no text"),
    ({"prompt": "x", "id": "1"}, r"row 2: id = '1' is row 1's too"),
    ({"prompt": "x", "id": True}, r"row 2: id = True is neither"),
    ({"prompt": "x", "id": ""}, r"row 2: id = '' is neither"),
    ({"prompt": "x", "id": [1]}, r"row 2: id = \[1\] is neither"),
    ({"prompt": "The sea"}, r"row 2: the same prompt as row 1: 'The sea'"),
    ({"prompt": "x", "weight": 0}, r"row 2: weight = 0\. A weight is a number above 0"),
    ({"prompt": "x", "weight": -1.5}, r"row 2: weight = -1\.5"),
    ({"prompt": "x", "weight": "2"}, r"row 2: weight = '2'"),
    ({"prompt": "x", "weight": True}, r"row 2: weight = True"),
    ('{"prompt": "x", "weight": NaN}', r"row 2: weight = nan"),
    ('{"prompt": "x", "weight": Infinity}', r"row 2: weight = inf"),
    ({"messages": []}, r"row 2: messages = \[\] is no list"),
    ({"messages": "Why?"}, r"row 2: messages = 'Why\?' is no list"),
    ({"messages": [{"role": "user"}]}, r"row 2: messages\[0\] = .* has not exactly a role and"),
    ({"messages": ["Why?"]}, r"row 2: messages\[0\] = 'Why\?' has not exactly"),
    ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, r"messages\[0\] = .* exactly"),
    ({"messages": [{"role": "tool", "content": "x"}]},
     r"row 2: messages\[0\]\.role = 'tool'\. A role is one of system, user, assistant"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, r"messages\[0\]\.role = \['user'\]"),
    ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\]\.content = 3 is no text"),
    ({"messages": [*CHAT, CHAT[0]]}, r"row 2: messages\[2\] is the system's\. It comes first"),
    ({"messages": [*CHAT, {"role": "assistant", "content": "Because."}]},
     r"row 2: the last message is the assistant's\. End with the user's"),
    ('{"prompt": "x"', r"row 2: no JSON \(.*, column 15\)\. Give a JSONL file"),
    ('{"prompt": ' + "[" * 100_000, r"row 2: no JSON \("),
    ("[1, 2]", r"row 2: \[1, 2\] is no JSON object"),
    (b'{"prompt": "\xe9t\xe9"}', r"row 2: not UTF-8 text \(byte 12 of the line\)\. Save the file"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "says"), OF_A_ROW)
def test_a_row_that_is_no_prompt_is_named(tmp_path: Path, row: Any, says: str) -> None:
    spec = written(tmp_path, {"prompt": "The sea"}, row)
    with pytest.raises(InputError, match=says) as caught:
        read_prompts(spec)
    assert f"settings.prompts = {spec!r}" in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for content, says in (
        (b"", "it holds no prompt"), (b"\n \n", "it holds no prompt"),
        (b"PAR1 and no more", r"no readable Parquet file \("),
    ):  # fmt: skip
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_prompts(str(path))
    with pytest.raises(InputError, match="no such file"):
        read_prompts(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(InputError, match=r"can't be read \(Is a directory\)"):
        read_prompts(str(tmp_path))


def test_the_holdout_follows_the_ids_alone() -> None:
    ids = [f"id-{n}" for n in range(200)]
    kept = held_out(ids, 0.2)
    assert len(kept) == 40
    assert held_out(reversed(ids), 0.2) == kept
    assert held_out(ids, 0.1) < kept < held_out(ids, 0.3)
    assert len(held_out([*ids, "another"], 0.2) ^ kept) <= 2
    assert len(held_out(["a", "b"], 0.01)) == 1


def test_what_is_judged_is_never_learned_from(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, *({"prompt": f"The {n}"} for n in range(10))))
    learned, judged = split("file", found, 0.3)
    assert (len(learned), len(judged)) == (7, 3)
    assert {p.id for p in learned} | {p.id for p in judged} == {p.id for p in found}
    assert split("file", found, 0.0) == (found, found)
    for few, share in ((found[:1], 0.2), (found[:2], 0.9)):
        with pytest.raises(InputError, match=r"keeps \d from training: none is left"):
            split("file", few, share)


def test_our_own_prompts_stand_for_themselves() -> None:
    """Their name is their identity: other prompts want another name."""
    found = read_prompts(OPENINGS)
    assert len({prompt.id for prompt in found}) == len({prompt.text for prompt in found}) == 200
    digest = hashlib.sha256("\n".join(str(prompt.text) for prompt in found).encode()).hexdigest()
    assert digest.startswith("b344309aeb8d0d7a")
    assert prompts_identity(OPENINGS) == OPENINGS
    learned, judged = split(OPENINGS, found, 0.2)
    assert (len(learned), len(judged)) == (160, 40)
