"""Which models of other families can take part, judged by configuration and class alone.

A model has to write text from left to right, and its configuration to state its own shape: what
the sampler, the scorer and the checks read. Nothing is loaded here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from recalltrap.errors import InputError
from recalltrap_studies.llm.models import upstream

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

NUMBERS = (
    "vocab_size",
    "max_position_embeddings",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
)
"""What is read of every configuration, under these names or those that its family maps to them."""
MOST = {"num_hidden_layers": 1_000, "vocab_size": 100_000_000, "hidden_size": 1_000_000}
"""More is a mistake, or meant to do harm: a model's outline takes time for every layer."""
KNOWN = "Llama, Qwen, Gemma, Mistral, GPT-2, GPT-NeoX, OPT, Phi and OLMo"
"""Families that are known to work, for messages."""


def check_family(config: PreTrainedConfig, spec: str, field: str) -> None:
    """Refuse what is no language model, or one of a design that can't be sampled here.

    `config.architectures` decides where it is stated, else the family that it is of.

    Raises:
        InputError: naming the setting, what was found, and the way out.
    """
    reason = not_causal(config) or _without_numbers(config) or too_large(config)
    try:
        reason = reason or _without_cache(config)
    except Exception as error:  # whatever a family's own code makes of strange numbers
        reason = f"transformers can't make a model of its configuration ({first_line(error)})"
    if reason:
        raise InputError(f"settings.{field} = {spec!r}: {reason}")


def first_line(error: Exception) -> str:
    """An error in one line of a message."""
    lines = str(error).strip().splitlines() or [repr(error)]
    return " ".join(" ".join(lines).split())[:300]


def not_causal(config: Any) -> str | None:
    """Why a configuration isn't that of a model that writes from left to right; None if it is.

    Also by what a file says of it alone: what that leaves open is taken for fitting.
    """
    from transformers.models.auto import modeling_auto as auto

    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    stated = stated_architectures(config)
    strange = [name for name in stated if name not in causal.values()]
    family = str(config.model_type)
    # BERT's kin have a language model's class too, whose attention looks both ways unless told.
    two_way = family in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", True
    )
    if strange or family not in causal or two_way or getattr(config, "is_encoder_decoder", False):
        found = ", ".join(strange or stated) or f"of the family {family!r}"
        return (
            f"its configuration says that it is {found}, which is no causal language model. Give "
            f"one whose `architectures` name a ...ForCausalLM ({KNOWN} work)"
        )
    return None


def _without_numbers(config: PreTrainedConfig) -> str | None:
    missing = [name for name in NUMBERS if number(config, name) is None]
    if not missing:
        return None
    parts = ", ".join(sorted(config.sub_configs))
    way_out = (
        f"it is made of several parts ({parts}): save its language model alone, with the "
        "configuration of that part"
        if parts
        else f"give a model whose configuration states it ({KNOWN} do)"
    )
    return (
        f"its configuration ({config.model_type}) states no {' and no '.join(missing)}, so whether "
        f"prompt, responses and vocabulary fit can't be told; {way_out}"
    )


def stated_architectures(config: object) -> list[str]:
    """The classes that a configuration names; none where that is no list."""
    stated = getattr(config, "architectures", None)
    return list(map(str, stated)) if isinstance(stated, list | tuple) else []


def too_large(config: object) -> str | None:
    """What of a configuration no model has; None where there is nothing of it."""
    for name, most in MOST.items():
        if (found := number(config, name) or 0) > most:
            return (
                f"its configuration says {name} = {found:,}. Mend its config.json: {most:,} at most"
            )
    return None


def number(config: object, name: str) -> int | None:
    """A positive integer of a configuration; None where it states none, or one per layer."""
    try:
        value: Any = getattr(config, name, None)
    except Exception:  # some families raise errors of their own for what they haven't got
        return None
    return value if isinstance(value, int) and value > 0 else None


def _without_cache(config: PreTrainedConfig) -> str | None:
    """Why rows can't leave a model's cache while others go on; None where they can."""
    from transformers import DynamicCache
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    cls: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    layers = DynamicCache(config=config).layers
    if (
        not upstream.keeps_a_state(cls)
        and "past_key_values" in inspect.signature(cls.forward).parameters
        and all(hasattr(layer, "batch_select_indices") for layer in layers)
    ):
        return None
    return (
        f"{cls.__name__} keeps a state of its own instead of keys and values per token, which "
        f"finished responses of a batch can't leave. Give a transformer ({KNOWN} work)"
    )
