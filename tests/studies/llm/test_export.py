"""A model that leaves the store: transformers loads it, and it says the same to the last bit."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from recalltrap.graph import Node
from recalltrap_studies.llm.export import export_model
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.models.tokenizers import read_tokenizer
from tests.studies.llm.conftest import NO_COST, NanoStore

TEXT = "The fox sees the hill."


def same_model(folder: Path, nano: NanoStore, node: Node) -> bool:
    """Whether a folder's model, loaded by transformers alone, is the store's to the last bit."""
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder).encode(TEXT)])
    with torch.no_grad():
        exported = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        stored = weights.read_model(nano.store, node, torch.device("cpu"))(ids).logits
    return torch.equal(exported, stored)


def test_transformers_loads_it(
    nano_store: NanoStore, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    node = Node("align", 0, {"test": 1}, {"start": nano_store.p_prime})
    model = weights.read_model(nano_store.store, nano_store.p_prime)
    files = weights.model_files(model, tiny_tokenizer)
    ours = {weights.CURVES_FILE: b"curves", weights.FACTS_FILE: b"{}"}
    nano_store.store.put(node, {**files, **ours}, NO_COST)
    folder = tmp_path / "out"
    folder.mkdir()
    said = KIND.export(node, nano_store.store, folder)
    assert said.header == {"library_name": "transformers", "pipeline_tag": "text-generation"}
    assert {path.name for path in folder.iterdir()} == set(files)
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= set(
        files
    )
    assert same_model(folder, nano_store, node)
    assert not same_model(folder, nano_store, nano_store.p_star), "any model would have done"
    loaded = AutoTokenizer.from_pretrained(folder)
    stored = read_tokenizer(nano_store.store, node)
    for tokenizer in (stored, tiny_tokenizer):
        assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
        assert loaded.eos_token == tokenizer.eos_token
        assert loaded.pad_token == tokenizer.pad_token


def test_the_card_s_own_lines_run(nano_store: NanoStore, tmp_path: Path) -> None:
    use = export_model(nano_store.p_prime, nano_store.store, tmp_path).use
    code = use.split("```")[1].removeprefix("python")
    names: dict[str, object] = {}
    exec(code.replace('folder = "."', f"folder = {str(tmp_path)!r}"), names)
    assert names["drawn"].shape[0] == 1  # type: ignore[attr-defined]
