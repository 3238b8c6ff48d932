"""A study with a file of prompts: what it is known by, and what is refused before it starts."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import ancestry
from recalltrap.orderings import Ordering
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.first_look import check_files
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.settings import LlmSettings

WORDS = ("fox", "old baker", "river", "train", "moon")


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    return written(tmp_path / "prompts.jsonl", *({"prompt": f"The {word}"} for word in WORDS))


@pytest.fixture
def model(
    tmp_path: Path, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> str:
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def nodes_of(**fields: Any) -> dict[str, dict[str, Any]]:
    """Every node's configuration of both orderings' cells, by id; and the cells' ids."""
    found = {}
    for name in ("K-A", "A-K"):
        cell = KIND.cell(Ordering.model_validate(name), LlmSettings(**fields), 3)
        found[cell.id] = {"stage": "cell"}
        for node in ancestry(cell.outputs):
            found[node.id] = {**node.config, "stage": node.stage}
    return found


def test_a_file_is_known_by_its_content_and_never_by_its_path(spec: str, tmp_path: Path) -> None:
    before = nodes_of(prompts=spec)
    copied = shutil.copy(spec, tmp_path / "elsewhere.jsonl")
    assert nodes_of(prompts=copied).keys() == before.keys()
    written(Path(copied), {"prompt": "The fox"}, {"prompt": "The moon"})
    changed = nodes_of(prompts=copied)
    same = {node for node in before if node in changed}
    assert {before[node]["stage"] for node in same} == {"pretrain"}
    assert nodes_of(prompts=spec, prompt_holdout=0.4).keys() & before.keys() == same


def test_only_what_judges_asks_the_held_out(spec: str) -> None:
    configs = list(nodes_of(prompts=spec).values())
    asking = [config for config in configs if "prompts" in config]
    assert {config["stage"] for config in asking} == {"sample", "oracle", "align", "assess"}
    assert not any("prompt" in config for config in configs)
    judged = [config for config in asking if config.get("prompts_of") == "holdout"]
    assert {config["stage"] for config in judged} == {"sample", "assess"}
    (truth,) = [config for config in judged if config["stage"] == "sample"]
    assert truth["heldout_samples"] == 0


def test_without_a_file_nothing_is_known_of_one() -> None:
    for config in nodes_of().values():
        assert not {"prompts", "prompt_holdout", "prompts_of", "store_texts"} & set(config)


def study(*overrides: str) -> Any:
    return load_study("llm/nano", [f"settings.{one}" for one in overrides])


def test_a_prompt_and_a_file_are_refused_together(spec: str) -> None:
    says = rf"settings\.prompt: prompts = '{spec}' are asked, and nothing reads prompt\. Remove"
    with pytest.raises(InputError, match=says):
        study("prompt=The fox", f"prompts={spec}")
    with pytest.raises(InputError, match=r"prompt_holdout: without a file .* nothing reads"):
        study("prompt_holdout=0.3")
    assert study(f"prompts={spec}", "prompt_holdout=0.3")


def refused(says: str, **fields: Any) -> None:
    with pytest.raises(InputError, match=says):
        check_sources(LlmSettings(**fields))


def test_good_files_pass(spec: str, model: str) -> None:
    check_sources(LlmSettings(prompts=spec))
    check_sources(LlmSettings(prompts=spec, p_star=model))


def test_the_row_that_does_not_fit_the_context_is_named(tmp_path: Path, model: str) -> None:
    long = written(tmp_path / "long", {"prompt": "The fox"}, {"prompt": "The fox sees " * 12})
    says = (
        r"settings\.sample_tokens = 32: with a prompt of \d+ tokens \(settings\.prompts = "
        r".*, row 2\) that is more than .* settings\.p_star = .*, which is 64\. Set it to \d+ or"
    )
    refused(says, prompts=long, p_star=model)
    longer = written(tmp_path / "longer", {"prompt": "The fox"}, {"prompt": "The fox " * 40})
    refused(r"settings\.prompts = .*, row 2 has \d+ tokens or more, and the context of "
            r"settings\.p_star", prompts=longer, p_star=model)  # fmt: skip
    words = written(tmp_path / "words", {"prompt": "The fox"}, {"prompt": "The " * 130 + "cat"})
    refused(r"row 2 has 131 tokens or more", prompts=words)


def test_what_the_models_cannot_read_is_refused(tmp_path: Path, model: str) -> None:
    chat = {"messages": [{"role": "user", "content": "The fox?"}]}
    chats = written(tmp_path / "chats", {"prompt": "The fox"}, chat)
    refused(r"row 2: it has messages, and a tokenizer that is trained here", prompts=chats)
    refused(r"row 2: it has messages, and the models' tokenizer has no chat", prompts=chats,
            p_star=model)  # fmt: skip
    strange = written(tmp_path / "strange", {"prompt": "The fox"}, {"prompt": "The ÿ"})
    refused(r"row 2, prompt = 'The ÿ': the vocabulary can't", prompts=strange, p_star=model)
    once = written(tmp_path / "once", {"prompt": "The fox"}, {"prompt": "Once"})
    refused(r"row 2: prompt = 'Once': every sentence of the grammar", prompts=once)
    refused(r"no such file", prompts=str(tmp_path / "nowhere"))


def test_a_chat_is_measured_as_its_template_writes_it(
    tmp_path: Path, model: str, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %} the hill sees the hill."
    written_by = copy.deepcopy(tiny_tokenizer)
    written_by.chat_template = template
    written_by.save_pretrained(model)
    chat = {"messages": [{"role": "user", "content": "The fox"}]}
    chats = written(tmp_path / "chats", {"prompt": "The moon"}, chat)
    check_sources(LlmSettings(prompts=chats, p_star=model))
    tokens = len(tiny_tokenizer.encode("The fox the hill sees the hill."))
    refused(rf"with a prompt of {tokens} tokens \(settings\.prompts = .*, row 2\)", prompts=chats,
            p_star=model, sample_tokens=60)  # fmt: skip


def test_too_few_prompts_or_samples_of_each(tmp_path: Path, spec: str) -> None:
    one = written(tmp_path / "one", {"prompt": "The fox"})
    refused(r"holds 1 prompt, and settings\.prompt_holdout = 0\.2 keeps 1", prompts=one)
    check_sources(LlmSettings(prompts=one, prompt_holdout=0))
    refused(r"evaluation_samples = 3: models are judged by 2 prompts .* Set it to 4",
            prompts=spec, prompt_holdout=0.4, evaluation_samples=3)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_tokens": 64},
         r"prompt of 2 tokens or more that is more than .* is 64. Set it to less, 62 at most, or"),
        ({"prompt": "The " * 63}, r"settings\.prompt has 63 tokens or more, and the context of "),
        ({"prompts": "@long"}, r"row 2 has 70 tokens or more, and the context of "),
    ],
)  # fmt: skip
def test_words_alone_tell_of_a_prompt_that_no_tokenizer_makes_short_enough(
    model: str, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    rows = written(tmp_path / "long.jsonl", {"prompt": "The fox"}, {"prompt": "The " * 70})
    given = {name: rows if value == "@long" else value for name, value in fields.items()}
    base = {"prompt": "The fox", "p_prime": model, "p_prime_weights": "given", "p_star": None}
    settings = LlmSettings.model_validate({**base, "reward": "length", **given})
    with pytest.raises(InputError, match=message):
        check_files(settings)


def test_what_words_leave_open_is_left_to_tokens(model: str) -> None:
    base = {"prompt": "The foxfox", "p_prime": model, "p_prime_weights": "given", "p_star": None}
    settings = LlmSettings.model_validate({**base, "reward": "length", "sample_tokens": 62})
    check_files(settings)
    with pytest.raises(InputError, match=r"Set it to \d\d or less"):
        check_sources(settings)
