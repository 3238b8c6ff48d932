"""Rewards of sequence classifiers: plain transformers' numbers, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap_studies.llm.cost_estimates import memory
from recalltrap_studies.llm.data.responses import PromptRows, padded
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.model_sizes import shape_of
from recalltrap_studies.llm.models import tokenizers
from recalltrap_studies.llm.preflight import check_access, check_sources
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.classifier import ClassifierReward, load_classifier
from recalltrap_studies.llm.settings import LlmSettings

PROMPTS = ["The", "The old cat"]
ANSWERS = [" cat sees the old dog", " sees the", " dog", " cat"]
TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"


def folder_of(path: Path, tokenizer: Any, labels: list[str], family: str = "bert") -> str:
    """A tiny classifier of these labels in the hub's format."""
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 24, "initializer_range": 0.5,
        "max_position_embeddings": 64, "pad_token_id": tokenizer.pad_token_id,
        "id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)},
    }  # fmt: skip
    config = BertConfig(**shared) if family == "bert" else LlamaConfig(**shared)
    torch.manual_seed(5)
    make: Any = AutoModelForSequenceClassification.from_config
    make(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def own_tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    """The classifier's: another vocabulary than the models'."""
    return tokenizers.train_tokenizer([*sentences, "[user] [assistant] Say it."], 90)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, own_tokenizer: Any) -> dict[str, str]:
    root = tmp_path_factory.mktemp("judges")
    two = ["bad", "good"]
    return {
        "one": folder_of(root / "one", own_tokenizer, ["LABEL_0"]),
        "two": folder_of(root / "two", own_tokenizer, two),
        "llama": folder_of(root / "llama", own_tokenizer, two, "llama"),
    }


def plain(folder: str, text: str, *, special: bool = True) -> torch.Tensor:
    """All logits of one text by transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=special)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(**inputs).logits[0]
    return logits


def reward_of(folder: str, speaker: Any, **fields: Any) -> ClassifierReward:
    model, tokenizer = load_classifier(folder, "reward")
    return ClassifierReward("judge", model, tokenizer, speaker, **fields)


def rows(speaker: Any) -> tuple[torch.Tensor, torch.Tensor, PromptRows, list[str]]:
    """Four responses of several lengths to two prompts, one of them with an EOS."""
    lists = [speaker.encode(text) for text in ANSWERS]
    lists[1] = [*lists[1], speaker.eos_token_id]
    prompts = PromptRows.of([speaker.encode(PROMPTS[row % 2]) for row in range(4)])
    texts = [PROMPTS[row % 2] + ANSWERS[row] for row in range(4)]
    return *padded([torch.tensor(ids).numpy() for ids in lists]), prompts, texts


@pytest.mark.parametrize(("name", "label"), [("one", 0), ("two", 1), ("llama", 1), ("llama", 0)])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_the_score_is_that_of_a_plain_call(
    folders: dict[str, str], tiny_tokenizer: Any, name: str, label: int, sigmoid: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tokens_BT, mask_BT, prompts, texts = rows(tiny_tokenizer)
    expected_B = torch.stack([plain(folders[name], text)[label] for text in texts])
    if sigmoid:
        expected_B = expected_B.sigmoid()
    reward = reward_of(folders[name], tiny_tokenizer, label=label, sigmoid=sigmoid)
    for at_once in (8192, 24):  # all at once, and in parts
        monkeypatch.setattr("recalltrap_studies.llm.rewards.classifier.TOKENS_AT_ONCE", at_once)
        found = reward.judge(tokens_BT, mask_BT, prompts)
        torch.testing.assert_close(found.reward_B, expected_B, atol=1e-5, rtol=1e-5)
    assert len(set(expected_B.tolist())) == 4, "the rows can be told apart"
    assert reward.supremum == (1.0 if sigmoid else None)


def test_a_chat_goes_through_the_classifier_s_own_template(
    tmp_path: Path, own_tokenizer: Any, tiny_tokenizer: Any
) -> None:
    folder = folder_of(tmp_path / "chat", own_tokenizer, ["good"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    tokens_BT, mask_BT, prompts, texts = rows(tiny_tokenizer)
    chats = {tuple(tiny_tokenizer.encode("The")): ({"role": "user", "content": "Say it."},)}
    found = reward_of(folder, tiny_tokenizer, chats=chats).judge(tokens_BT, mask_BT, prompts)
    for row in (0, 2):  # to the prompt that came as messages
        text = f"[user] Say it. [assistant] {ANSWERS[row]} "
        expected = plain(folder, text, special=False)[0]
        torch.testing.assert_close(found.reward_B[row], expected, atol=1e-5, rtol=1e-5)
    for row in (1, 3):
        expected = plain(folder, texts[row])[0]
        torch.testing.assert_close(found.reward_B[row], expected, atol=1e-5, rtol=1e-5)


def test_a_text_that_is_too_long_loses_its_beginning(
    folders: dict[str, str], tiny_tokenizer: Any
) -> None:
    reward = reward_of(folders["one"], tiny_tokenizer)
    short, long = (
        padded([torch.tensor(tiny_tokenizer.encode(" dog" * n)).numpy()]) for n in (100, 150)
    )
    prompt = PromptRows.same(tiny_tokenizer.encode("The"))
    torch.testing.assert_close(
        reward.judge(*short, prompt).reward_B, reward.judge(*long, prompt).reward_B
    )


def cell(**settings: Any) -> Cell:
    return KIND.cell(Ordering.model_validate("K-A"), LlmSettings(**settings), 1)


def test_a_classifier_is_loaded_and_known_by_its_content(
    folders: dict[str, str], tmp_path: Path, own_tokenizer: Any
) -> None:
    one = cell(reward=folders["one"], scorers=[folders["two"] + "#good"])
    loads = {f for node in one.nodes if node.stage == "load" for f in node.config}
    assert loads == {"reward", "scorers"}
    assert not {"target", "oracle"} & {node.stage for node in one.nodes}
    copy = folder_of(tmp_path / "copy", own_tokenizer, ["LABEL_0"])
    again = cell(reward=copy, scorers=[folders["two"] + "#good"])
    assert {node.id for node in again.nodes} == {node.id for node in one.nodes}
    assert again.id == one.id
    config = Path(copy, "config.json")
    config.write_text(config.read_text() + "\n")
    other = cell(reward=copy, scorers=[folders["two"] + "#good"])
    assert {n.stage for n in other.nodes if n not in one.nodes} == {"load", "align", "assess"}
    bad = cell(reward=folders["one"], scorers=[folders["two"] + "#bad"])
    assert {n.stage for n in bad.nodes if n not in one.nodes} == {"assess"}
    for fields in ({"reward_sigmoid": True}, {"reward_label": "LABEL_0"}):
        changed = cell(reward=folders["one"], scorers=[folders["two"] + "#good"], **fields)
        assert {n.stage for n in changed.nodes if n not in one.nodes} == {"align", "assess"}


def test_its_memory_and_operations_are_counted(folders: dict[str, str]) -> None:
    model, _ = load_classifier(folders["one"], "reward")
    size = sum(p.numel() for p in model.parameters())
    one, none = cell(reward=folders["one"]), cell(reward="length")
    nodes, others = (
        {node.stage: node for node in c.nodes if node.stage in ("load", "align", "assess")}
        for c in (one, none)
    )
    assert shape_of(nodes["load"]).parameters == size
    for stage in ("align", "assess"):
        assert memory(nodes[stage], LlmResources())["reward model"] == 4.0 * size
        assert "reward model" not in memory(others[stage], LlmResources())
        assert KIND.estimate(nodes[stage]).flops > KIND.estimate(others[stage]).flops


def test_labels_are_read_of_classifiers_alone(folders: dict[str, str]) -> None:
    names = {"reward_label", "reward_sigmoid"}
    assert names <= KIND.reads(LlmSettings(reward=folders["one"])).fields
    unread = KIND.reads(LlmSettings(reward="length")).unread
    assert (
        unread["reward_label"] == "reward = 'length' is no classifier: nothing reads reward_label"
    )


def refused(message: str, **settings: Any) -> None:
    with pytest.raises(InputError, match=message):
        check_sources(LlmSettings(**settings))


def test_what_is_no_classifier_is_refused(
    folders: dict[str, str], tmp_path: Path, own_tokenizer: Any, tiny_model: Any
) -> None:
    two = folders["two"]
    refused(
        r"settings\.reward = .* it has 2 labels \(bad, good\).*reward_label: 'good'", reward=two
    )
    refused(r"no label 'god'; did you mean 'good'", reward=two, reward_label="god")
    refused(r"settings\.scorers = .* 2 labels .*the scorer as '.*#good'", scorers=[two])
    refused(r"settings\.scorers = .* no label 'x'; allowed: 'bad', 'good'", scorers=[two + "#x"])
    refused(r"no such folder, and neither a hub id", reward="./nowhere/at/all")
    check_sources(LlmSettings(reward=two, reward_label="good", scorers=[folders["one"]]))
    tiny_model.save_pretrained(tmp_path / "speaker")
    own_tokenizer.save_pretrained(tmp_path / "speaker")
    refused(
        "is LlamaForCausalLM, which is no sequence classifier", reward=str(tmp_path / "speaker")
    )
    bare = Path(folder_of(tmp_path / "bare", own_tokenizer, ["good"]))
    (bare / "model.safetensors").unlink()
    refused(r"no usable weights", reward=str(bare))
    (bare / "pytorch_model.bin").write_bytes(b"pickle")
    refused(r"a pickle.*import AutoModelForSequenceClassification as", reward=str(bare))
    short = json.loads(Path(two, "config.json").read_text()) | {"max_position_embeddings": 20}
    Path(two, "config.json").write_text(json.dumps(short))
    refused(r"reads 20 tokens, and a prompt of 1 or more with .*align_tokens = 32", reward=two,
            reward_label="good")  # fmt: skip


def test_a_hub_s_classifier_is_asked_for_once_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = LlmSettings(reward="nobody/has-this@main")
    check_sources(settings)
    monkeypatch.setattr("recalltrap_studies.llm.models.hub.fault", lambda: "it doesn't answer")
    with pytest.raises(InputError, match=r"settings\.reward = 'nobody/has-this@main'"):
        check_access(settings)


def test_folders_of_one_name_are_told_apart(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(ValueError, match=r"'one' stands there twice.*another name"):
        LlmSettings(scorers=[folders["one"], str(tmp_path / "one")])
