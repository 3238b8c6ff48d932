"""Models that were trained elsewhere: a folder in the hub's format, or a hub id.

What they are made of is read here, with an error that names the setting and the way out.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from recalltrap.errors import InputError
from recalltrap_studies.llm import architectures, devices
from recalltrap_studies.llm.vocabulary import load_tokenizer, tokenizer_files

SOURCE_FILE = "source.json"
_PIECE = 1 << 16


def load_pretrained(
    spec: str, field: str = "p_star", revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A trained model and its tokenizer, from a folder or the hub; the process's device and dtype.

    Raises:
        InputError: no such model, no weights, no tokenizer, or one with other tokens.
    """
    tokenizer = load_tokenizer(spec, field)
    model = load_weights(spec, field, revision)
    check_fit(tokenizer, model.config, spec, field)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    set_generation(model)
    return model, tokenizer


def load_weights(spec: str, field: str, revision: str | None = None) -> PreTrainedModel:
    name, asked = architectures.location(spec, field)
    architectures.load_config(spec, field)  # transformers would make a model of a classifier's too
    where = devices.device()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            name, revision=revision or asked, dtype=devices.dtype(where)
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise architectures.unreachable(spec, field, "model", error) from None
    return placed(model, where)


def placed(model: PreTrainedModel, where: torch.device) -> PreTrainedModel:
    """The model itself, moved and in eval mode."""
    torch.nn.Module.to(model, device=where, dtype=devices.dtype(where))
    torch.nn.Module.eval(model)
    return model


def set_generation(model: PreTrainedModel) -> None:
    """What `generate` reads follows the configuration and holds no sampling defaults."""
    config = model.config
    generation = model.generation_config
    assert generation is not None
    generation.bos_token_id = config.bos_token_id
    generation.eos_token_id = config.eos_token_id
    generation.pad_token_id = config.pad_token_id


def check_fit(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, spec: str, field: str
) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for.

    Raises:
        InputError: naming the setting and both sizes. A model may have spare embeddings.
    """
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"settings.{field} = {spec!r}: its tokenizer has {len(tokenizer)} tokens and the model "
            f"only {config.vocab_size}: they don't belong together. Save the model's own tokenizer "
            "beside it"
        )


def source_files(spec: str, field: str = "p_star") -> dict[str, bytes]:
    """The files of a `load` artifact: the tokenizer, and where the weights are.

    `revision` pins the hub's commit, or the content of a folder.

    Raises:
        InputError: see `load_pretrained`.
    """
    tokenizer, config = look(spec, field)
    source = {"spec": spec, "revision": _revision(spec, config)}
    text = json.dumps(source, indent=1) + "\n"
    return {SOURCE_FILE: text.encode(), **tokenizer_files(tokenizer)}


def look(
    spec: str, field: str, *, local_only: bool = False
) -> tuple[PreTrainedTokenizerFast, PreTrainedConfig]:
    """Tokenizer and configuration of a folder or hub id, without its weights."""
    config = architectures.load_config(spec, field, local_only=local_only)
    tokenizer = load_tokenizer(spec, field, local_only=local_only)
    check_fit(tokenizer, config, spec, field)
    return tokenizer, config


def _revision(spec: str, config: PreTrainedConfig) -> str | None:
    if not architectures.is_folder(spec):
        return getattr(config, "_commit_hash", None)
    folder = Path(architectures.location(spec, "p_star")[0])
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with open(path, "rb") as file:  # both ends: hashing whole weights takes too long
            digest.update(file.read(_PIECE))
            file.seek(max(size - _PIECE, 0))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()


def read_source(source: dict[str, str | None]) -> PreTrainedModel:
    spec, pinned = str(source["spec"]), source["revision"]
    if not architectures.is_folder(spec):
        return load_pretrained(spec, revision=pinned)[0]
    if _revision(spec, architectures.load_config(spec, "p_star")) != pinned:
        raise InputError(
            f"settings.p_star = {spec!r}: the folder's content changed after it was first used. "
            "Restore it, or give the new content a folder of its own"
        )
    return load_pretrained(spec)[0]
