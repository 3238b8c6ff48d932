"""Models as weights: fresh ones, and those of the store.

A model artifact is a folder in the hub's format. A `load` artifact holds the tokenizer and what
the weights are (`source.json`), for they are read from their source.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models import architectures, devices
from recalltrap_studies.llm.models.pretrained import (
    SOURCE_FILE,
    placed,
    read_source,
    set_generation,
)
from recalltrap_studies.llm.models.tokenizers import tokenizer_files

CURVES_FILE, FACTS_FILE = "curves.parquet", "facts.json"
"""What a training leaves beside a model."""


def fresh_model(config: PreTrainedConfig, seed: int | np.random.SeedSequence) -> PreTrainedModel:
    """A model with every parameter drawn anew: float32, on the CPU, the same for the same seed.

    By the family's own rules. Llama's are: matrices normal with `initializer_range`, gains 1,
    biases 0, here drawn parameter by parameter. Neither the global generator's state nor anything
    loaded before plays a part.

    Raises:
        StageError: `user_code`, where the family leaves a parameter without a value.
    """
    word = _word(seed)
    # The family's own rules draw from the global generator.
    with torch.random.fork_rng(devices=[]), _nan_where_unset():
        torch.default_generator.manual_seed(word)
        model = architectures.blank_model(config)
    # Ours are drawn by name, so that artifacts don't depend on the order of modules.
    if config.model_type == "llama":
        _draw_llama(model, float(config.initializer_range), word)
    _check_values(model)
    model.tie_weights()
    set_generation(model)
    return model


def _draw_llama(model: PreTrainedModel, scale: float, word: int) -> None:
    generator = torch.Generator().manual_seed(word)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim > 1:
                parameter.normal_(0.0, scale, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


@contextlib.contextmanager
def _nan_where_unset() -> Iterator[None]:
    """New tensors hold NaN until something is written into them, instead of what was there."""
    debug = torch.get_deterministic_debug_mode()
    filling: Any = torch.utils.deterministic
    before = filling.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")
    filling.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(debug)
        filling.fill_uninitialized_memory = before


def _check_values(model: PreTrainedModel) -> None:
    """Refuse a model that an initialisation has left a number out of."""
    values = [*model.named_parameters(), *model.named_buffers()]
    unset = [name for name, value in values if bool(value.isnan().any())]
    if unset:
        raise StageError(
            "user_code",
            f"transformers initialises no {unset[0]} of {type(model).__name__} "
            f"({len(unset)} of {len(values)} tensors have no value): choose an architecture of "
            "another family",
        )


def _word(seed: int | np.random.SeedSequence) -> int:
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def model_files(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, bytes]:
    """A model and its tokenizer in the hub's format: file name → bytes, weights in one file."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="1000GB")
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return files | tokenizer_files(tokenizer)


@contextlib.contextmanager
def unpacked(store: ArtifactStore, node: Node) -> Iterator[Path]:
    """A model artifact as a folder on this machine, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = store.open(node)
        for name in artifact.names:
            Path(folder, name).write_bytes(artifact.read(name))
        yield Path(folder)


def read_model(
    store: ArtifactStore, node: Node, device: torch.device | None = None
) -> PreTrainedModel:
    """A model of the store in eval mode, on the process's device or the given one.

    Raises:
        InputError: the artifact is damaged, or the source of a `load` artifact changed.
    """
    where = device or devices.device()
    artifact = store.open(node)
    if SOURCE_FILE in artifact.names:
        model = read_source(node, json.loads(artifact.read(SOURCE_FILE)), where)
    else:
        with unpacked(store, node) as folder:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=devices.dtype(where))
    return placed(model, where)
