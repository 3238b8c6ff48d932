"""What is refused before anything starts, and that the good passes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.orderings import Ordering
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.models import tokenizers
from recalltrap_studies.llm.preflight import check_sources, notes_on_models
from recalltrap_studies.llm.settings import LlmSettings


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
    sentences: list[str],
) -> dict[str, str]:
    """A good model, one without a tokenizer, one with another, and ones with other faults."""
    root = tmp_path_factory.mktemp("folders")
    other = tokenizers.train_tokenizer(sentences, 80)
    for name, tokenizer in {
        "good": tiny_tokenizer,
        "bare": None,
        "other": other,
        **dict.fromkeys(("empty", "pickled", "outline", "classifier", "skewed"), tiny_tokenizer),
    }.items():
        tiny_model.save_pretrained(root / name)
        if tokenizer is not None:
            tokenizer.save_pretrained(root / name)
    (root / "empty/model.safetensors").unlink()
    (root / "pickled/model.safetensors").rename(root / "pickled/pytorch_model.bin")
    (root / "outline/model.safetensors").unlink()
    changed(root / "classifier", architectures=["LlamaForSequenceClassification"])
    changed(root / "skewed", rope_parameters={"rope_type": "no such"})
    return {path.name: str(path) for path in root.iterdir()}


def changed(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def settings(folders: dict[str, str], **fields: Any) -> LlmSettings:
    """Settings in which `@name` stands for a folder."""
    named = {k: folders[v[1:]] if str(v).startswith("@") else v for k, v in fields.items()}
    return LlmSettings.model_validate(named)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"target_topics": ["court", "sky"], "prompt": "The judge"},
        {"p_star": "@good"},
        {"p_star": "@good", "p_prime": "@good", "student": "@good"},
        {"p_star": "HuggingFaceTB/SmolLM2-1.7B", "p_prime": "smollm2-360m", "sample_tokens": 512,
         "student": "smollm2-135m", "p_target": "smollm2-135m"},
    ],
)  # fmt: skip
def test_good_settings_pass(folders: dict[str, str], fields: dict[str, Any]) -> None:
    check_sources(settings(folders, **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p_star": "@bare"}, r"settings\.p_star = .* no usable tokenizer"),
        ({"p_star": "@empty"}, r"settings\.p_star = .* no usable weights"),
        ({"p_star": "./nowhere"}, r"settings\.p_star = './nowhere': no such folder"),
        ({"p_prime": "nano-mediun"}, r"settings\.p_prime = .* did you mean 'nano-medium'"),
        ({"p_star": "@good", "student": "@bare"}, r"settings\.student = .* no usable tokenizer"),
        (
            {"p_star": "@good", "student": "@other"},
            r"settings\.p_star and settings\.student .*118 and 80 tokens, the first difference at "
            r"id 80: 'ir' and nothing",
        ),
        ({"student": "@good"}, r"settings\.student = .*vocabulary of its own.*Give a size of ours"),
        ({"student": "HuggingFaceTB/SmolLM2-135M"}, r"settings\.student = .*vocabulary of its own"),
        ({"corpus": "no/such.txt"}, r"settings\.corpus = .*no such file"),
        ({"prompt": "Once"}, r"settings\.prompt = 'Once': every sentence .* 'The'"),
        ({"p_star": "@good", "prompt": "Ünë"}, r"settings\.prompt = 'Ünë': the vocabulary can't"),
        ({"sample_tokens": 200}, r"settings\.sample_tokens = 200: .*p_star .* is 128\. Set it to "),
        (
            {"p_star": "@good", "sample_tokens": 64, "align_tokens": 64},
            r"settings\.sample_tokens = 64: .*is 64\. Set it to 63",
        ),
        (
            {"p_star": "@good", "corpus": "words.txt"},
            r"settings\.corpus = 'words.txt': p_star = .* is trained on no corpus\. Leave",
        ),
        (
            {"p_star": "@good", "target_topics": ["sky"]},
            r"settings\.target_topics = \['sky'\]: .* p_star = .* speaks otherwise\. Leave",
        ),
        (
            {"p_star": "@pickled"},
            r"settings\.p_star = .*\*\.bin alone.*Convert .*: python -c '.+' /",
        ),
        ({"p_star": "@good", "p_prime": "@classifier"}, r"settings\.p_prime = .*SequenceClassif"),
        ({"p_star": "@classifier"}, r"settings\.p_star = .*LlamaForSequenceClassification"),
        (
            {"p_star": "@good", "p_target": "@skewed"},
            r"settings\.p_target = .*can't make a model of its configuration \(.*Mend its config",
        ),
        ({"prompt": "The " * 130 + "cat"}, r"settings\.prompt has 131 tokens or more"),
        ({"target_topics": ["ski"]}, r"settings\.target_topics: 'ski' .* did you mean 'sky'"),
        (
            {"target_topics": ["sky"], "p_star": "HuggingFaceTB/SmolLM2-1.7B"},
            r"settings\.target_topics = \['sky'\]: .*Leave it empty",
        ),
    ],
)
def test_bad_settings_are_refused(
    folders: dict[str, str], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_sources(settings(folders, **fields))


def test_weights_that_would_be_ignored_are_said(folders: dict[str, str]) -> None:
    given = settings(folders, p_star="@good", p_prime="@good", student="@outline", p_target="a/b")
    (line,) = check_sources(given.model_copy(update={"p_target": "nano-small"}))
    assert line == (
        f"settings.p_prime = {folders['good']!r}: architecture only; its weights aren't used"
    )
    assert notes_on_models(LlmSettings(p_star="a/b", p_target="a/b@main")) == [
        "settings.p_target = 'a/b@main': architecture only; its weights aren't used"
    ]


def test_a_kind_says_each_line_once(folders: dict[str, str]) -> None:
    given = settings(folders, p_star="@good", p_prime="@good")
    other = given.model_copy(update={"kl_weight": 3.0})
    cells = [KIND.cell(Ordering.model_validate("K-A"), one, 0) for one in (given, other)]
    assert len(KIND.check(cells)) == 1
    assert KIND.check([]) == []


def test_a_corpus_that_is_not_text(folders: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"settings\.corpus = .*not UTF-8 text"):
        check_sources(settings(folders, corpus=str(path)))


def test_an_engine_that_is_not_installed_is_refused() -> None:
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(InputError, match=r"settings\.engine = 'vllm'.*pip install"):
        check_sources(LlmSettings(engine="vllm"))
