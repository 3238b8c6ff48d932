"""Models: shapes, fresh weights, the hub's folders and the store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import sequence
from recalltrap_studies.llm.fingerprints import model_identity
from recalltrap_studies.llm.models import (
    architectures,
    devices,
    pretrained,
    tokenizers,
)
from recalltrap_studies.llm.models import (
    weights as models,
)

NO_COST = Cost(0, 0, 0, 0, "cpu", 1)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> str:
    """The tiny model and its tokenizer, as anybody's save_pretrained leaves them."""
    path = tmp_path_factory.mktemp("hub") / "model"
    tiny_model.save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return str(path)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(2, 12)[None]).logits
    return found.float()


@pytest.mark.parametrize(
    ("size", "published"),
    [
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("smollm2-1.7b", 1_711_376_384),
    ],
)
def test_the_published_sizes(size: str, published: int) -> None:
    assert architectures.parameters(size) == published
    assert architectures.parameters(architectures.config_of(size)) == published


def test_shapes_in_closed_form_are_the_models(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    for size in (name for name in architectures.SIZES if name.startswith("nano-")):
        config = architectures.config_of(size, tokenizer=tiny_tokenizer)
        count = architectures.shape_parameters(size, len(tiny_tokenizer))
        assert architectures.parameters(config) == count
        assert config.tie_word_embeddings
        assert config.eos_token_id == tiny_tokenizer.eos_token_id
        assert config.pad_token_id == tiny_tokenizer.pad_token_id


def test_a_student_is_smaller_than_its_teacher() -> None:
    large, medium, small = map(
        architectures.parameters, ("nano-large", "nano-medium", "nano-small")
    )
    assert large > 1.5 * medium
    assert medium > 3 * small


def reinitialised(model: PreTrainedModel, other: PreTrainedModel) -> bool:
    """Whether a Llama shares no drawn value with another and no gain was learned.

    True when every matrix differs from the other's in all but stray entries, and every vector is
    constant at its initial value.
    """
    theirs = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            start = 0.0 if name.endswith("bias") else 1.0
            if not bool((parameter == start).all()):
                return False
        elif name in theirs and theirs[name].shape == parameter.shape:
            equal = (parameter == theirs[name].to(parameter)).float().mean()
            if float(equal) > 0.01:
                return False
    return True


def test_a_fresh_model_is_drawn_anew(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    config = architectures.config_of("nano-small", tokenizer=tiny_tokenizer)
    before = torch.random.get_rng_state()
    first, again, other = (models.fresh_model(config, sequence(s, "test/x")) for s in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert reinitialised(first, other)
    assert not reinitialised(first, again)
    tied = first.state_dict()
    weights = tied["model.embed_tokens.weight"]
    assert abs(weights.std().item() / config.initializer_range - 1) < 0.05
    assert tied["lm_head.weight"].data_ptr() == weights.data_ptr()


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        ("nano-large", "626fb9c54421945b"),
        ("nano-medium", "4cbab3a358171208"),
        ("nano-small", "e281df9e49f602a0"),
    ],
)
def test_sizes_of_ours_keep_the_numbers_that_stored_studies_began_with(
    size: str, digest: str
) -> None:
    model = models.fresh_model(architectures.config_of(size), sequence(0, "sft/init"))
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    assert found.hexdigest().startswith(digest)


def test_one_parameter_that_was_kept_is_noticed(tiny_model: PreTrainedModel) -> None:
    drawn = models.fresh_model(tiny_model.config, 7)
    assert reinitialised(drawn, tiny_model)
    for name, parameter in drawn.named_parameters():
        kept = dict(tiny_model.named_parameters())[name].detach()
        original = parameter.detach().clone()
        with torch.no_grad():
            parameter.copy_(kept)
            assert not reinitialised(drawn, tiny_model), name
            parameter.copy_(original)


def test_a_fresh_student_of_a_folder_has_none_of_its_weights(
    folder: str, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    config = architectures.config_of(folder, len(tiny_tokenizer), tiny_tokenizer, "student")
    assert reinitialised(models.fresh_model(config, 0), tiny_model)


def test_a_folder_in_the_hubs_format_is_loaded(
    folder: str, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    model, tokenizer = pretrained.load_pretrained(folder)
    torch.testing.assert_close(logits(model), logits(tiny_model))
    tokenizers.compare_vocabularies(tokenizer, tiny_tokenizer)
    assert not model.training
    assert model.generation_config is not None
    assert model.generation_config.pad_token_id == tiny_tokenizer.pad_token_id


def test_model_files_are_the_hubs_format(
    tmp_path: Path, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    files = models.model_files(tiny_model, tiny_tokenizer)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        *files
    }
    assert {t.dtype for t in load_tensors(files["model.safetensors"]).values()} == {torch.float32}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(tiny_model)
    )


def test_a_model_comes_back_from_the_store(
    store: ArtifactStore, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    node = Node("sft", 0, {})
    store.put(node, models.model_files(tiny_model, tiny_tokenizer), NO_COST)
    model = models.read_model(store, node)
    torch.testing.assert_close(logits(model), logits(tiny_model), rtol=0, atol=0)
    assert not model.training
    assert model.device.type == "cpu"
    assert model.dtype == torch.float32
    with models.unpacked(store, node) as path:
        assert (path / "config.json").is_file()
    assert not path.exists()


def test_a_loaded_p_star_is_read_from_its_source(
    store: ArtifactStore,
    tmp_path: Path,
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    node = Node("load", 0, {"p_star": model_identity(str(tmp_path / "model"))})
    files = pretrained.source_files(node)
    assert "model.safetensors" not in files
    store.put(node, files, NO_COST)
    torch.testing.assert_close(logits(models.read_model(store, node)), logits(tiny_model))
    tokenizers.compare_vocabularies(tokenizers.read_tokenizer(store, node), tiny_tokenizer)
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"settings\.p_star = .*it is gone from here"):
        models.read_model(store, node)
    moved = Node("load", 0, {"p_star": model_identity(str(tmp_path / "moved"))})
    torch.testing.assert_close(logits(models.read_model(store, moved)), logits(tiny_model))
    narrow_model.save_pretrained(tmp_path / "moved")
    with pytest.raises(InputError, match=r"settings\.p_star = .*its content changed"):
        models.read_model(store, moved)


def damaged(folder: str, tmp_path: Path, *missing: str) -> str:
    """A copy of a model's folder without some of its files."""
    for path in Path(folder).iterdir():
        if not any(path.name.startswith(name) for name in missing):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return str(tmp_path)


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        (("tokenizer",), "tokenizer"),
        (("config.json",), "configuration|model"),
        (("model.safetensors",), "model"),
    ],
)
def test_a_folder_that_lacks_something(
    folder: str, tmp_path: Path, missing: tuple[str, ...], what: str
) -> None:
    spec = damaged(folder, tmp_path, *missing)
    with pytest.raises(InputError, match=rf"settings\.p_star = .* no usable ({what}) .*Give a"):
        pretrained.load_pretrained(spec)


def test_a_folder_with_a_strangers_tokenizer(folder: str, tmp_path: Path) -> None:
    spec = damaged(folder, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(InputError, match=r"tokenizer has \d+ tokens and the model only 100"):
        pretrained.source_files(Node("load", 0, {"p_star": spec}))


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        pretrained.load_pretrained("nobody/has-this@main")
    message = str(caught.value)
    assert "settings.p_star = 'nobody/has-this@main'" in message
    assert "Check the name and the network" in message
    assert "smollm2-135m" in message
    assert "\n" not in message


@pytest.mark.parametrize("spec", ["nano-larg", "./no/such/folder", "a b/c", "x/y/z"])
def test_a_spec_that_is_nothing(spec: str) -> None:
    with pytest.raises(InputError, match=r"settings\.student = .*nor a size of ours"):
        architectures.config_of(spec, field="student")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.dtype(torch.device("cpu")) == torch.float32
    assert devices.dtype(torch.device("cuda")) == torch.bfloat16
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RECALLTRAP_DEVICE")
    assert devices.device() == torch.device("cpu")
    for wrong in ("gpu", "cuda", "cuda:1"):
        monkeypatch.setenv("RECALLTRAP_DEVICE", wrong)
        with pytest.raises(InputError, match="RECALLTRAP_DEVICE = "):
            devices.device()
