"""Models that were trained elsewhere: a folder in the hub's format, a GGUF file, or a hub id.

What they are made of is read here, with an error that names the setting and the way out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedConfig
from transformers.utils import logging

from recalltrap.errors import is_out_of_memory
from recalltrap.graph import Node
from recalltrap.store.contents import Content
from recalltrap_studies.llm.contents import loaded, opened
from recalltrap_studies.llm.models import architectures, devices, folders, gguf, upstream
from recalltrap_studies.llm.models.tokenizers import load_tokenizer, tokenizer_files

if TYPE_CHECKING:  # what all models have in common takes seconds to import, and some are refused
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

SOURCE_FILE = "source.json"

# A bar for each of thousands of small reads would hide the study's own table.
logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def load_pretrained(
    spec: str,
    field: str = "p_star",
    revision: str | None = None,
    device: torch.device | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A trained model and its tokenizer, from a folder, a GGUF file or the hub.

    On the process's device or the given one, in its precision: for the CPU the numbers are the
    folder's own, in whatever precision they stand there.

    Raises:
        InputError: no such model, no weights or not all, no tokenizer, or one with other tokens.
    """
    tokenizer = load_tokenizer(spec, field)
    model = load_weights(spec, field, revision, device)
    check_fit(tokenizer, model.config, spec, field)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    # A folder's sampling settings have no place here: some of them can't even be saved again.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    set_generation(model)
    return model, tokenizer


def load_weights(
    spec: str, field: str, revision: str | None = None, device: torch.device | None = None
) -> PreTrainedModel:
    """A trained model without its tokenizer; see `load_pretrained`."""
    architectures.load_config(spec, field)  # transformers would make a model of a classifier's too
    where = device or devices.device()
    if gguf.is_gguf(spec):
        return placed(
            gguf.read_model(architectures.location(spec, field)[0], f"settings.{field}"), where
        )
    model = load_whole(AutoModelForCausalLM, spec, field, revision, where)
    return placed(model, where)


def load_whole(
    auto: Any, spec: str, field: str, revision: str | None, where: torch.device
) -> PreTrainedModel:
    """A model by one of transformers' auto classes, refused where some of its weights are missing.

    Raises:
        InputError: it can't be had, or lacks weights.
    """
    name, asked = architectures.location(spec, field)
    try:
        model, found = auto.from_pretrained(
            name,
            revision=revision or asked,
            dtype=devices.dtype(where),
            local_files_only=architectures.must_be_here(spec),
            use_safetensors=True,  # never a pickle
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # said below, in one line
            device_map=where if where.type == "meta" else None,
        )
    except Exception as error:  # whatever damaged files do to their readers
        if is_out_of_memory(error):
            raise
        raise architectures.unreachable(spec, field, "model", error) from None
    # transformers draws what it doesn't find, or finds in another shape, and goes on.
    for name, stands, wanted in sorted(found["mismatched_keys"]):
        sizes = " and ".join("x".join(map(str, shape)) for shape in (stands, wanted))
        reason = ValueError(f"{name} has {sizes} numbers by its weights and its configuration")
        raise architectures.unreachable(spec, field, "model", reason)
    if lacking := sorted(found["missing_keys"]):
        reason = ValueError(f"no {lacking[0]} among its weights, {len(lacking)} missing")
        raise architectures.unreachable(spec, field, "model", reason)
    whole: PreTrainedModel = model
    return whole


def check_loadable(auto: Any, spec: str, field: str) -> None:
    """Refuse a folder whose weights don't make its model: damaged, of other names or shapes. Their
    files' headers are read and no number.

    Raises:
        InputError: names the setting and the way out.
    """
    with upstream.quiet():
        load_whole(auto, spec, field, None, torch.device("meta"))


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
        raise folders.strangers(spec, field, len(tokenizer), int(config.vocab_size))


def source_files(node: Node) -> dict[str, bytes]:
    """The files of a `load` node's artifact: the tokenizer, and what the weights are.

    A folder is known by its content, for it may be moved; a hub id by its commit at this time.

    Raises:
        InputError: see `load_pretrained`.
    """
    field, identity = loaded(node)
    spec = opened(identity, field)
    tokenizer, _ = look(spec, field)
    source: dict[str, Any] = (
        dict(identity)
        if isinstance(identity, Content)
        else {"spec": spec, "revision": upstream.commit_of(*architectures.location(spec, field))}
    )
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


def read_source(node: Node, source: dict[str, str | None], device: torch.device) -> PreTrainedModel:
    """The weights of a `load` node, from where its identity says they are now.

    Raises:
        InputError: they are gone, or changed after the study was planned.
    """
    field, identity = loaded(node)
    spec, revision = opened(identity, field), source.get("revision")
    return load_pretrained(spec, field, revision, device)[0]


def shape_of_source(node: Node) -> PreTrainedConfig:
    """The configuration of a `load` node's model, without its weights.

    Raises:
        InputError: see `read_source`.
    """
    field, identity = loaded(node)
    return architectures.load_config(opened(identity, field), field)
