"""The files that `recalltrap new` writes: they load, they are planned, and every line is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import recalltrap as rt
from recalltrap.registry import find_kind
from recalltrap.study.own_study import kinds_with_templates, write_own_study
from recalltrap.study.study import Study
from recalltrap.study.yaml_text import read_yaml
from recalltrap_studies.llm.models.tokenizers import train_tokenizer
from tests.studies.llm.conftest import fresh, tiny_sentences

COMMENTED = re.compile(r"^( *)# ([a-z_]+): (\S.*?)(?:\s+# .*)?$")
"""A setting that waits behind a #: its indentation, name and value."""


@pytest.fixture(params=kinds_with_templates())
def study(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a kind, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / write_own_study("mine", request.param)


@pytest.fixture
def own(study: Path, tmp_path: Path) -> dict[str, Any]:
    """What stands in for the models that a user has: a tiny one, as a folder."""
    if rt.load_study(study).kind != "llm":
        return {}
    tokenizer = train_tokenizer(tiny_sentences(200), 160)
    folder = tmp_path / "tiny-model"
    fresh(tokenizer, layers=3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [{"prompt": f"The {word}"} for word in ("fox", "river", "train", "moon", "old baker")]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "truth.jsonl").write_text("\n".join(json.dumps({"text": "The fox"}) for _ in "ab"))
    small: dict[str, Any] = {"settings.sample_tokens": 16, "settings.align_tokens": 16}
    small |= {"settings.student_layers": 2, "settings.prompts": "prompts.jsonl"}
    roles = [
        name for name, value in rt.load_study(study).settings.items() if "models/" in str(value)
    ]
    assert roles, "the file names no model of the user's"
    return small | {f"settings.{role}": folder for role in roles}


def commented(study: Path) -> list[tuple[str, str]]:
    """The fields that wait behind a #, by their place in the study, with their values."""
    section, found = "", []
    for line in study.read_text().splitlines():
        if heading := re.match(r"^([a-z]+):", line):
            section = heading[1]
        if waiting := COMMENTED.match(line):
            inside = f"{section}." if waiting[1] else ""
            found.append((f"{inside}{waiting[2]}", waiting[3]))
    return found


def test_it_is_planned(study: Path, own: dict[str, Any], storage: str) -> None:
    plan = rt.plan(study, overrides=own, storage=storage)
    assert plan.study == "mine"
    assert plan.cells == plan.todo > 0
    assert plan.primary is not None


def test_every_field_in_a_comment_is_one(study: Path) -> None:
    kind = find_kind(rt.load_study(study).kind)
    known = {
        *Study.model_fields,
        *(f"settings.{name}" for name in kind.settings.model_fields),
        *(f"resources.{name}" for name in kind.resources.model_fields),
    }
    fields = commented(study)
    assert len(fields) > 5
    assert [name for name, _ in fields if name not in known] == []


def test_every_line_may_be_taken_out_of_its_comment(study: Path, own: dict[str, Any]) -> None:
    for name, value in commented(study):
        loaded = rt.load_study(study, {**own, name: read_yaml(value).content})
        section, _, field = name.rpartition(".")
        content = loaded.content()
        assert (content[section] if section else content)[field] == read_yaml(value).content


def test_what_is_a_default_is_said_to_be_it(study: Path) -> None:
    """Behind a # stands the default or an example; a number there is the default."""
    kind = find_kind(rt.load_study(study).kind)
    for name, value in commented(study):
        section, _, field = name.partition(".")
        default = kind.settings.model_fields[field].default if section == "settings" else None
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert read_yaml(value).content == default, name


def test_the_algorithms_in_its_comment_are_all_there_are(study: Path) -> None:
    kind = find_kind(rt.load_study(study).kind)
    (line,) = re.findall(r"^  algorithm: .*# (.*)$", study.read_text(), re.MULTILINE)
    assert tuple(line.split(", ")) == get_args(kind.settings.model_fields["algorithm"].annotation)
