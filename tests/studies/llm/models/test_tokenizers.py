"""Tokenizers trained here, stored, and compared; text round trips without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import stream
from recalltrap_studies.llm.data import prompts
from recalltrap_studies.llm.data.sample_shards import map_sequences, read_shards
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import architectures, tokenizers
from recalltrap_studies.llm.models.weights import fresh_model, model_files
from recalltrap_studies.llm.stages.sample import run_sample
from tests.studies.llm.scoring import response_sums


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sentences.sentences(8_000, stream(0, "test/vocabulary"))


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    return tokenizers.train_tokenizer(texts, 512)


def test_special_tokens_are_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == 512
    assert (tokenizer.eos_token, tokenizer.pad_token) == (tokenizers.END, tokenizers.PAD)
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizers.END not in tokenizer.decode(tokenizer.encode("The cook"))


def test_the_prompt_is_one_token_and_begins_every_sentence(
    tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    (the,) = tokenizers.encode_prompt(tokenizer, "The")
    assert {ids[0] for ids in tokenizer(texts[:200])["input_ids"]} == {the}


def test_text_survives_the_round_trip(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> None:
    encoded = tokenizer(texts[:500])["input_ids"]
    assert tokenizer.batch_decode(encoded) == texts[:500]


@pytest.mark.slow
def test_sentences_of_rare_topics_are_short_enough_too(
    tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    """What is cut off has no EOS, and no rare topic shall be cut off for its spelling."""
    lengths = np.array([len(ids) + 1 for ids in tokenizer(texts)["input_ids"]])
    topics = np.array([sentences.topic_of(text) for text in texts])
    assert 12 < lengths.mean() < 16
    for topic in sentences.TOPICS:
        assert lengths[topics == topic].mean() < 21
        assert (lengths[topics == topic] > 33).mean() < 0.01


def test_training_is_deterministic(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> None:
    again = tokenizers.train_tokenizer(texts, 512)
    assert tokenizers.tokenizer_files(again) == tokenizers.tokenizer_files(tokenizer)


def test_a_large_vocabulary_spells_every_text(texts: list[str]) -> None:
    whole = tokenizers.train_tokenizer(texts[:100], tokenizers.WHOLE_ALPHABET)
    assert whole.decode(tokenizers.encode_prompt(whole, "Ünë €5 Zzz")) == "Ünë €5 Zzz"


def test_more_bytes_than_tokens(texts: list[str]) -> None:
    signs = "".join(chr(code) for code in range(0x21, 0x7F))
    with pytest.raises(InputError, match=r"settings\.vocabulary_size = 64: .* Set it to \d+"):
        tokenizers.train_tokenizer([signs], 64)


@pytest.mark.parametrize("prompt", ["Ünë", "The Zebra!"])
def test_a_prompt_that_cannot_be_spelled(tokenizer: PreTrainedTokenizerFast, prompt: str) -> None:
    with pytest.raises(InputError, match=r"settings\.prompt = .*can't spell it"):
        tokenizers.encode_prompt(tokenizer, prompt)


def test_a_tokenizer_comes_back_from_the_store(
    tokenizer: PreTrainedTokenizerFast, store: ArtifactStore
) -> None:
    node = Node("pretrain", 0, {})
    store.put(node, tokenizers.tokenizer_files(tokenizer), Cost(0, 0, 0, 0, "cpu", 1))
    back = tokenizers.read_tokenizer(store, node)
    tokenizers.compare_vocabularies(tokenizer, back)
    assert back.pad_token_id == tokenizer.pad_token_id
    assert back.encode("The cook bakes.") == tokenizer.encode("The cook bakes.")


def test_other_vocabularies_are_refused(
    tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    smaller = tokenizers.train_tokenizer(texts, 400)
    with pytest.raises(InputError, match=r"settings\.p_star and settings\.student .*512 and 400"):
        tokenizers.compare_vocabularies(tokenizer, smaller, "p_star", "student")
    other = tokenizers.train_tokenizer(texts, 512)
    other.eos_token = tokenizers.PAD
    with pytest.raises(InputError, match="EOS is"):
        tokenizers.compare_vocabularies(tokenizer, other)


def saved(folder: Path, **special: str) -> str:
    """A tokenizer of four words and some special tokens, as a folder."""
    words = ["The", "cat", "<s>", "</s>", "<spare>", "<padding>"]
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="The")
    plain = Tokenizer(model)
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=plain, **special)  # type: ignore[no-untyped-call]
    made.save_pretrained(folder)
    return str(folder)


def test_padding_is_never_eos(tmp_path: Path) -> None:
    shared = saved(tmp_path / "shared", eos_token="</s>", pad_token="</s>")
    loaded = tokenizers.load_tokenizer(shared, "p_star")
    assert loaded.pad_token_id not in (None, loaded.eos_token_id)
    assert len(loaded) == 6  # nothing was added
    own = saved(tmp_path / "own", eos_token="</s>", pad_token="<padding>")
    assert tokenizers.load_tokenizer(own, "p_star").pad_token == "<padding>"
    spare = saved(tmp_path / "spare", eos_token="</s>", cls_token="<spare>")
    assert tokenizers.load_tokenizer(spare, "p_star").pad_token == "<spare>"


def test_a_tokenizer_without_eos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.p_star = .* no EOS token"):
        tokenizers.load_tokenizer(saved(tmp_path / "endless"), "p_star")


BOS_ID, EOS_ID, THE, CAT = 2, 3, 0, 1


def opened(folder: Path, template: str | None, **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer that writes a text as `template` says, through a folder and back."""
    spec = saved(folder, eos_token="</s>", **special)
    if template is not None:
        whole = Tokenizer.from_file(f"{spec}/tokenizer.json")
        signs = [(t, whole.token_to_id(t)) for t in ("<s>", "</s>", "<spare>")]
        whole.post_processor = processors.TemplateProcessing(template, special_tokens=signs)
        whole.save(f"{spec}/tokenizer.json")
    return tokenizers.load_tokenizer(spec, "p_star")


@pytest.mark.parametrize(
    ("template", "prompt", "ids"),
    [
        (None, "The cat", [THE, CAT]),
        ("$A", "The cat", [THE, CAT]),
        ("<s> $A", "The cat", [BOS_ID, THE, CAT]),
        ("<s> $A </s>", "The cat", [BOS_ID, THE, CAT]),  # an EOS would end what begins here
        ("$A </s>", "The cat", [THE, CAT]),
        ("</s> $A", "The", [EOS_ID, THE]),  # one sign for both
        ("<s> <spare> $A <spare>", "The", [BOS_ID, 4, THE]),
        ("<s> $A", "<s> The", [BOS_ID, THE]),  # in writing: not twice
        ("<s> $A </s>", "<s> The", [BOS_ID, THE]),
        ("<s> $A", "<s>", [BOS_ID]),
        (None, "<s> The", [BOS_ID, THE]),
        ("$A", "The The", [THE, THE]),
        ("<s> $A", "The The", [BOS_ID, THE, THE]),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_a_prompt_begins_as_the_tokenizer_begins_once(
    tmp_path: Path, store: ArtifactStore, template: str | None, prompt: str, ids: list[int],
    stored: bool,
) -> None:  # fmt: skip
    tokenizer = opened(tmp_path, template, bos_token="<s>")
    if stored:  # as it stands beside every student
        node = Node("load", 0, {})
        store.put(node, tokenizers.tokenizer_files(tokenizer), Cost(0, 0, 0, 0, "cpu", 1))
        tokenizer = tokenizers.read_tokenizer(store, node)
    assert tokenizers.encode_prompt(tokenizer, prompt) == ids
    assert prompts.asked({"prompt": prompt}, tokenizer).rows.lists() == [ids]


@pytest.mark.parametrize("template", [None, "<s> $A </s>"])
def test_samples_lessons_and_scores_begin_alike(
    tmp_path: Path, store: ArtifactStore, template: str | None
) -> None:
    """The prompt with its BOS stands in the samples, isn't learned, and is what scores follow."""
    tokenizer = opened(tmp_path, template, bos_token="<s>")
    begun = [BOS_ID, THE] if template else [THE]
    config = architectures.config_of("nano-small", len(tokenizer), tokenizer)
    assert (config.bos_token_id, config.eos_token_id) == (BOS_ID, EOS_ID)
    model = fresh_model(config, 0)
    teacher = Node("load", 0, {"bos": bool(template)})
    files = model_files(model, tokenizer)
    store.put(teacher, files, Cost(0, 0, 0, 0, "cpu", 1))
    wanted = {"samples": 2, "heldout_samples": 30, "sample_tokens": 5, "prompt": "The",
              "temperature": 1.0, "engine": "transformers"}  # fmt: skip
    node = Node("sample", 0, wanted, {"model": teacher})
    list(run_sample(node, store, WorkerGroup()))
    table = read_shards(store, node, "heldout")
    rows = table["input_ids"].to_pylist()
    assert all(row[: len(begun)] == begun for row in rows)
    data = map_sequences(store.open(node), "train", tmp_path, len(tokenizer), WorkerGroup())
    assert set(data.prompts.tolist()) == {len(begun)}
    responses = [row[len(begun) :] for row in rows]
    scored, _ = response_sums(model, responses, tokenizers.encode_prompt(tokenizer, "The"))
    drawn = [sum(row) for row in table["log_probs"].to_pylist()]
    np.testing.assert_allclose(scored.numpy(), drawn, atol=1e-4)
