"""Forms of models that users have: each is read for what it is, or refused with the way out."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.token_sequences import IGNORED, Collator, Sequences
from recalltrap_studies.llm.models import folders, pretrained, weights
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.gguf_files import write_gguf
from tests.studies.llm.given_folders import folder_of, layered


@pytest.fixture
def model(tiny_tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return layered(tiny_tokenizer, 3, width=32)


@pytest.fixture
def folder(tmp_path: Path, model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast) -> Path:
    """A good folder, for a test to change."""
    return Path(folder_of(tmp_path / "model", model, tiny_tokenizer))


def check(folder: Path, **fields: Any) -> None:
    """What `plan` checks of a study on the folder's model."""
    settings = {"p_prime": str(folder), "p_prime_weights": "given", **fields}
    check_sources(LlmSettings.model_validate(settings))


def same(read: PreTrainedModel, model: PreTrainedModel) -> bool:
    """Whether every tensor is the same, bit for bit, in float32."""
    theirs = model.state_dict()
    found = read.state_dict()
    return found.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name].float()) for name, tensor in found.items()
    )


def edited(folder: Path, file: str, **fields: Any) -> None:
    path = folder / file
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**before, **fields}))


def test_weights_in_several_files(folder: Path, model: PreTrainedModel) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    check(folder)
    assert same(pretrained.load_pretrained(str(folder))[0], model)
    shards[1].unlink()
    with pytest.raises(
        InputError, match=rf"settings\.p_prime = .*1 of them are missing, {shards[1].name}"
    ):
        check(folder)
    (folder / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InputError, match=r"index\.json can't be read .*Copy the model's folder"):
        check(folder)


@pytest.mark.parametrize("field", ["p_prime", "p_star", "p_second", "p_prime_aligned", "student"])
def test_a_pickle_is_refused_wherever_its_weights_are_read(
    folder: Path, tmp_path: Path, field: str
) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    fields = {field: str(pickled)} | ({"student_weights": "given"} if field == "student" else {})
    with pytest.raises(
        InputError, match=rf"settings\.{field} = .*\*\.bin alone, a pickle"
    ) as caught:
        check(folder, **fields)
    assert "python -c" in str(caught.value)


def test_the_command_that_converts_a_pickle_works(
    folder: Path, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        check(folder)
    python, option, code, *arguments = shlex.split(str(caught.value).partition("made them: ")[2])
    assert (python, option) == ("python", "-c")
    monkeypatch.setattr(sys, "argv", [option, *arguments])
    exec(code, {})
    check(folder)
    assert same(pretrained.load_pretrained(str(folder))[0], model)


def test_an_architecture_s_weights_may_be_a_pickle(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    check(folder, student=str(pickled))


def test_a_head_that_is_tied_needs_no_weights(folder: Path, model: PreTrainedModel) -> None:
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    read, _ = pretrained.load_pretrained(str(folder))
    tied: Any = read
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert same(read, model)


def test_a_parameter_that_is_missing_is_never_drawn(folder: Path) -> None:
    edited(folder, "config.json", tie_word_embeddings=False)
    with pytest.raises(
        InputError, match=r"settings\.p_star = .*no lm_head\.weight among its weights"
    ):
        pretrained.load_pretrained(str(folder))
    edited(folder, "config.json", tie_word_embeddings=True)
    kept = load_file(folder / "model.safetensors")
    del kept["model.layers.1.mlp.up_proj.weight"]
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"no model\.layers\.1\.mlp\.up_proj\.weight .*1 missing"):
        pretrained.load_pretrained(str(folder))


def test_bfloat16_is_kept_exactly(
    tmp_path: Path, model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    path = folder_of(tmp_path / "half", model.bfloat16(), tiny_tokenizer)
    assert {t.dtype for t in load_file(f"{path}/model.safetensors").values()} == {torch.bfloat16}
    read, tokenizer = pretrained.load_pretrained(path, device=torch.device("cpu"))
    assert {p.dtype for p in read.parameters()} == {torch.float32}
    assert same(read, model)
    files = weights.model_files(read, tokenizer)
    assert json.loads(files["config.json"])["dtype"] == "float32"


def test_spare_embeddings_are_kept(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    padded = layered(tiny_tokenizer, 2, spare=10)
    path = Path(folder_of(tmp_path / "padded", padded, tiny_tokenizer))
    check(path)
    read, tokenizer = pretrained.load_pretrained(str(path))
    assert (
        len(tokenizer) + 10
        == read.config.vocab_size
        == read.state_dict()["lm_head.weight"].shape[0]
    )
    assert same(read, padded)


@pytest.mark.parametrize("pad", [None, "eos"])
def test_a_tokenizer_without_a_pad_token_of_its_own(
    folder: Path, tiny_tokenizer: PreTrainedTokenizerFast, pad: str | None
) -> None:
    edited(folder, "tokenizer_config.json", pad_token=tiny_tokenizer.eos_token if pad else None)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    check(folder)
    model, tokenizer = pretrained.load_pretrained(str(folder))
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert len(tokenizer) == len(tiny_tokenizer), "no token is added"
    assert model.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize("width", [None, 12])
def test_eos_is_learned_also_where_it_pads(width: int | None) -> None:
    eos = 1
    sequences = Sequences.of_lists([[5, 6, eos], [5, 6, 7, 8, eos]])
    batch = Collator(sequences, eos, width)([{"row": 0}, {"row": 1}])
    learned = batch["labels"][batch["labels"] != IGNORED]
    assert sorted(learned.tolist()) == [eos, eos, 6, 6, 7, 8]
    if width is None:
        assert batch["attention_mask"].sum(dim=1).tolist() == [3, 5]
        assert batch["labels"][0].tolist() == [IGNORED, 6, eos, IGNORED, IGNORED]


SAMPLING = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "top_k": 5,
            "repetition_penalty": 1.3, "max_length": 20}  # fmt: skip


def test_a_folder_s_sampling_settings_change_nothing(
    folder: Path, tmp_path: Path, model: PreTrainedModel
) -> None:
    edited(folder, "generation_config.json", **SAMPLING)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    theirs.generation_config.pad_token_id = 0
    with pytest.raises(ValueError, match="generation"):  # or the test would show nothing
        theirs.save_pretrained(tmp_path / "theirs")
    check(folder)
    read, tokenizer = pretrained.load_pretrained(str(folder))
    kept = read.generation_config.to_diff_dict()
    assert not kept.keys() & SAMPLING.keys()
    assert (kept["eos_token_id"], kept["pad_token_id"]) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    files = weights.model_files(read, tokenizer)
    assert not json.loads(files["generation_config.json"]).keys() & SAMPLING.keys()


@pytest.mark.parametrize("field", ["p_prime", "student"])
def test_an_adapter_is_refused_with_the_command_that_merges_it(
    folder: Path, tmp_path: Path, field: str
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    edited(adapter, "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder))
    save_file(
        {"base_model.model.x.lora_A.weight": torch.zeros(2)}, adapter / "adapter_model.safetensors"
    )
    with pytest.raises(InputError) as caught:
        check(folder, **{field: str(adapter)})
    message = str(caught.value)
    assert f"settings.{field} = " in message
    assert "is an adapter (PEFT) without the model" in message
    command = message.partition("`")[2].partition("`")[0]
    arguments = shlex.split(command.partition("&&")[2])
    assert arguments[:2] == ["python", "-c"]
    compile(arguments[2], "command", "exec")
    assert "merge_and_unload" in arguments[2]
    assert arguments[3:] == [str(adapter), f"{adapter}-merged"]


def test_a_gguf_file_is_a_model_with_its_tokenizer(
    tmp_path: Path, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, tiny_model, tiny_tokenizer)
    check(path, student=str(path), student_weights="given")
    read, tokenizer = pretrained.load_pretrained(str(path), "p_prime")
    assert read.config.vocab_size >= len(tokenizer)
    assert {p.dtype for p in read.parameters()} == {torch.float32}
    weights.model_files(read, tokenizer)  # can be saved
    with pytest.raises(InputError, match=r"settings\.p_prime = .*no-such\.gguf.* can't be read"):
        check(tmp_path / "no-such.gguf")


@pytest.mark.parametrize("number", [-1, 0, None, [4, 4]])
def test_a_configuration_may_leave_its_context_open(folder: Path, number: Any) -> None:
    edited(folder, "config.json", max_position_embeddings=number)
    stated = folders.stated_config(str(folder), "p_prime", folder)
    assert stated["max_position_embeddings"] == number


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": "wide"}, "hidden_size = 'wide' is no whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers = True is no whole number"),
        ({"vocab_size": float("nan")}, "vocab_size = nan is no whole number"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0 is no positive number"),
        ({"model_type": 3}, "no model_type in its config.json"),
        ({"vocab_size": 10**15}, "vocab_size = 1,000,000,000,000,000. Mend its config.json"),
    ],
)
def test_a_configuration_that_no_model_has_is_refused_by_its_file(
    folder: Path, fields: dict[str, Any], message: str
) -> None:
    edited(folder, "config.json", **fields)
    with pytest.raises(InputError, match=message):
        folders.stated_config(str(folder), "p_prime", folder)


def test_a_tokenizer_of_another_format_is_left_to_transformers(folder: Path) -> None:
    tokens = folders.check_tokenizer(str(folder), "p_prime", folder)
    assert tokens
    assert tokens <= json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"no usable tokenizer \(no tokenizer.json in it\)"):
        folders.check_tokenizer(str(folder), "p_prime", folder)
    (folder / "vocab.json").write_text("{}")
    assert folders.check_tokenizer(str(folder), "p_prime", folder) is None
