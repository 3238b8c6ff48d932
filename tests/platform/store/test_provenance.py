from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recalltrap.redaction import redact, redact_argv
from recalltrap.store.provenance import ARGV_VARIABLE, collect, current_provenance, read_provenance
from recalltrap.store.storage import Storage


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("s3://key:hunter2@bucket/x", "hunter2"),
        ("https://user@host/x", "user"),
        ("--token=hunter2", "hunter2"),
        ("HF_TOKEN=hunter2 python", "hunter2"),
        ("AWS_SECRET_ACCESS_KEY = hunter2", "hunter2"),
        ("+    password: hunter2", "hunter2"),
        ('+  "api_key": "hunter2",', "hunter2"),
        ("{'db_password': 'hunter2'}", "hunter2"),
        ("s3://bucket?secret_key=hunter2&x=1", "hunter2"),
        ("Authorization: Bearer hunter2", "hunter2"),
        ("api-key: hunter2", "hunter2"),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["recalltrap run mog/quick -o settings.iterations=300", "s3://bucket/prefix",
     "+    token: str | None = None" .replace("str | None = ", ""), "http://127.0.0.1:8265",
     "the tokens that were drawn"],
)  # fmt: skip
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


def test_a_secret_behind_its_option_is_taken_out() -> None:
    argv = ["train.py", "--hf-token", "hunter2", "--seed", "3", "--password=hunter2", "x"]
    assert redact_argv(argv) == [
        "train.py", "--hf-token", "[redacted]", "--seed", "3", "--password=[redacted]", "x",
    ]  # fmt: skip


def test_it_says_where_a_result_came_from() -> None:
    found = collect()
    assert found["versions"]["recalltrap"]
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert json.loads(json.dumps(found)) == found


def test_it_is_written_once_and_found_by_name(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "runs"))
    storage.prepare()
    names = {current_provenance(storage) for _ in range(3)}
    assert len(names) == 1
    assert storage.list("provenance") == [f"{names.pop()}.json"]
    assert read_provenance(storage, current_provenance(storage)) == collect()


@pytest.mark.slow
def test_a_workers_command_line_is_its_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from recalltrap.store.provenance import collect; print(collect()['argv'])"
    monkeypatch.setenv(ARGV_VARIABLE, json.dumps(["recalltrap", "run", "--token=hunter2"]))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['recalltrap', 'run', '--token=[redacted]']"
