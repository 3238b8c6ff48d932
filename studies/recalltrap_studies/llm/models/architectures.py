"""Shapes of models: sizes of ours by name, and those of folders and hub ids.

The SmolLM2 family is Llama with tied embeddings; `smollm2-*` are its published shapes and `nano-*`
the same design small enough for a CPU. `nano-neox-*` are of another design, GPT-NeoX's: layer
norms, attention and MLP in parallel, half of each head rotated. Weights are made and read in
`weights`.
"""

from __future__ import annotations

import copy
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recalltrap.errors import InputError, nearest
from recalltrap.paths import resolve
from recalltrap_studies.llm.models import folders, gguf, hub, upstream
from recalltrap_studies.llm.models.families import check_family, first_line

if TYPE_CHECKING:  # `recalltrap plan` asks for shapes alone and shall not wait for torch
    from transformers import (
        PreTrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

REAL_MODEL = "smollm2-135m-instruct"
"""The folder that `make real-model` makes under `models`; without it the name is a hub id's."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Size:
    """One shape. `rope_theta`, `initializer_range` and `vocabulary` are the published ones;
    `family` is transformers' name of the design."""

    layers: int
    width: int
    heads: int
    key_value_heads: int
    intermediate: int
    context: int
    rope_theta: float
    initializer_range: float
    vocabulary: int
    family: Literal["llama", "gpt_neox"] = "llama"


SIZES: dict[str, Size] = {
    "nano-large": Size(2, 96, 4, 4, 256, 128, 1e4, 0.02, 512),
    "nano-medium": Size(2, 72, 4, 4, 192, 128, 1e4, 0.02, 512),
    "nano-small": Size(1, 40, 4, 4, 104, 128, 1e4, 0.02, 512),
    "nano-tiny": Size(1, 24, 4, 4, 64, 128, 1e4, 0.02, 512),
    "nano-least": Size(1, 16, 4, 4, 40, 128, 1e4, 0.02, 512),
    "nano-neox-medium": Size(2, 72, 4, 4, 288, 128, 1e4, 0.02, 512, "gpt_neox"),
    "nano-neox-small": Size(1, 40, 4, 4, 160, 128, 1e4, 0.02, 512, "gpt_neox"),
    "smollm2-135m": Size(30, 576, 9, 3, 1536, 8192, 1e5, 1 / 24, 49_152),
    "smollm2-360m": Size(32, 960, 15, 5, 2560, 8192, 1e5, 0.02, 49_152),
    "smollm2-1.7b": Size(24, 2048, 32, 32, 8192, 8192, 1.3e5, 0.02, 49_152),
}


def is_size(spec: str) -> bool:
    """Whether a spec names a size of ours, rather than a folder or a hub id."""
    return spec in SIZES


def is_folder(spec: str) -> bool:
    """Whether a spec is a folder on this machine."""
    try:
        return not is_size(spec) and os.path.isdir(resolve(spec, "settings"))
    except InputError:
        return False


def is_local(spec: str) -> bool:
    """Whether a spec is a folder on this machine, or the path of a GGUF file."""
    return gguf.is_gguf(spec) or is_folder(spec)


def location(spec: str, field: str) -> tuple[str, str | None]:
    """What transformers wants for a folder or hub id: (name or path, revision); a GGUF file's path.

    Raises:
        InputError: the spec is neither.
    """
    path = resolve(spec, f"settings.{field}")
    if os.path.isdir(path) or gguf.is_gguf(spec):
        return path, None
    if os.path.exists(path):
        raise InputError(
            f"settings.{field} = {spec!r} is a file: give the folder around it, in the hub's "
            "format, or a GGUF file"
        )
    if not HUB_ID.fullmatch(spec):
        raise InputError(
            f"settings.{field} = {spec!r}: no such folder, and neither a hub id (owner/name or "
            f"owner/name@revision), a GGUF file nor a size of ours; {nearest(spec, SIZES)}"
        )
    name, _, revision = spec.partition("@")
    return name, revision or None


def config_of(
    spec: str,
    vocab_size: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    field: str = "p_star",
) -> PreTrainedConfig:
    """The configuration of a model: a size of ours, a hub id (with @revision), or a folder.

    `vocab_size` replaces the published one; `tokenizer` sets the special tokens (and the number of
    tokens, where `vocab_size` is left out). `field` is the setting to name in errors.

    Raises:
        InputError: the spec is none of the three, or its configuration can't be had.
    """
    config = _sized(SIZES[spec]) if is_size(spec) else load_config(spec, field)
    if tokenizer is not None:
        vocab_size = vocab_size or len(tokenizer)
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.bos_token_id, config.eos_token_id = eos if bos is None else bos, eos
        config.pad_token_id = tokenizer.pad_token_id
    if vocab_size is not None:
        config.vocab_size = vocab_size
    return config


def _sized(size: Size) -> PreTrainedConfig:
    from transformers import GPTNeoXConfig, LlamaConfig

    shared: dict[str, Any] = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.context,
        "initializer_range": size.initializer_range,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    rope = {"rope_type": "default", "rope_theta": size.rope_theta}
    if size.family == "gpt_neox":
        half = {**rope, "partial_rotary_factor": 0.5}
        return GPTNeoXConfig(**shared, rope_parameters=half)
    return LlamaConfig(
        **shared,
        num_key_value_heads=size.key_value_heads,
        rope_parameters=rope,
        rms_norm_eps=1e-5,
    )


def load_config(spec: str, field: str, *, local_only: bool = False) -> PreTrainedConfig:
    """The configuration of a folder, GGUF file or hub id; `local_only`: of what is on this machine.

    Raises:
        Unreachable: it can't be had; names the setting and the way out.
        InputError: it is no causal language model's, or of a design that can't be sampled here; or
            an adapter's folder.
    """
    from transformers import AutoConfig

    name, revision = location(spec, field)
    if gguf.is_gguf(spec):
        found = gguf.read_config(name, f"settings.{field}")
        check_family(found, spec, field)
        return found
    if is_folder(spec):
        folders.check_no_adapter(spec, field, Path(name))
    try:
        with upstream.quiet():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                name, revision=revision, local_files_only=local_only or must_be_here(spec)
            )
    except Exception as error:  # each family checks its own numbers in its own way
        raise unreachable(spec, field, "configuration", error) from None
    check_family(config, spec, field)
    return config


class Unreachable(InputError):
    """A part of a model isn't here, or can't be read."""


def must_be_here(spec: str) -> bool:
    """Whether a folder or hub id can be read from this machine alone."""
    return is_folder(spec) or hub.fault() is not None


def unreachable(spec: str, field: str, what: str, error: Exception) -> Unreachable:
    """The error for a part of a model that can't be read, with the way out."""
    reason = first_line(error)
    if is_folder(spec):
        return Unreachable(
            f"settings.{field} = {spec!r}: this folder has no usable {what} ({reason}). Give a "
            "folder that save_pretrained wrote for the model and for its tokenizer"
        )
    reason = hub.last_fault() or reason
    made = " `make real-model` makes it, where you are." if Path(spec).name == REAL_MODEL else ""
    return Unreachable(
        f"settings.{field} = {spec!r}: neither a folder here nor reachable on the hub: its {what} "
        f"can't be had ({reason}).{made} Check the name and the network, give a local folder in "
        f"the hub's format, or a size of ours: {', '.join(SIZES)}"
    )


def blank_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of the configuration's shape in float32, with weights that mean nothing."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedModel

    with upstream.quiet():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    assert isinstance(model, PreTrainedModel)
    return model


def parameters(spec_or_config: str | PreTrainedConfig) -> int:
    """How many parameters a model has, tied ones once; sizes of ours with their own vocabulary."""
    if isinstance(spec_or_config, str):
        if is_size(spec_or_config):
            return shape_parameters(spec_or_config)
        return parameters(config_of(spec_or_config))
    return sum(parameter.numel() for parameter in outline(spec_or_config).parameters())


def outline(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of the configuration's shape without any numbers, made at once at every size."""
    import torch

    with torch.device("meta"):
        return blank_model(copy.deepcopy(config))


def shape_parameters(size: str, vocabulary: int | None = None, layers: int | None = None) -> int:
    """Parameters of a size of ours, in closed form and without torch; of some layers of it."""
    shape = SIZES[size]
    if shape.family == "gpt_neox":  # all matrices have biases, and norms a shift
        inner = 2 * shape.width * shape.intermediate + shape.intermediate + shape.width
        layer = 4 * shape.width**2 + 4 * shape.width + inner + 4 * shape.width
        embeddings = (vocabulary or shape.vocabulary) * shape.width
        return embeddings + (layers or shape.layers) * layer + 2 * shape.width
    queries = shape.width * shape.width
    keys = shape.width * shape.width * shape.key_value_heads // shape.heads
    layer = 2 * queries + 2 * keys + 3 * shape.width * shape.intermediate + 2 * shape.width
    embeddings = (vocabulary or shape.vocabulary) * shape.width
    return embeddings + (layers or shape.layers) * layer + shape.width
