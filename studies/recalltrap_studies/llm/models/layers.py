"""A smaller model of some layers of a larger one: its blocks, embeddings, norm and head, copied.

Of any family whose blocks stand in one list of modules and whose other parameters don't depend on
how many there are.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from recalltrap.errors import InputError
from recalltrap_studies.llm.models.architectures import blank_model, outline
from recalltrap_studies.llm.models.families import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def kept_layers(of: int, kept: int) -> tuple[int, ...]:
    """Numbers of `kept` layers of `of`, evenly spaced, the first and the last among them.

    Args:
        of: How many there are.
        kept: How many are kept, 2 to `of`.
    """
    assert 2 <= kept <= of
    gaps = kept - 1
    return tuple((2 * place * (of - 1) + gaps) // (2 * gaps) for place in range(kept))


def cut_config(config: PreTrainedConfig, kept: int) -> PreTrainedConfig:
    """The configuration of a model of `kept` layers of this one; lists per layer are cut likewise.

    Raises:
        ValueError: it has too few layers, or a setting that names layers by their numbers.
    """
    layers = int(config.num_hidden_layers)
    if not 2 <= kept <= layers:
        raise ValueError(f"it has {layers} layers")
    numbers = kept_layers(layers, kept)
    small = copy.deepcopy(config)
    small.num_hidden_layers = kept
    for name, value in config.to_dict().items():
        if "layer" not in name or not isinstance(value, list | tuple) or not value:
            continue
        if len(value) != layers:
            raise ValueError(f"its configuration's {name} isn't one entry per layer")
        setattr(small, name, [value[number] for number in numbers])
    return small


def check_cut(config: PreTrainedConfig, kept: int, model: str) -> None:
    """Refuse what can't be cut; nothing is loaded. `model` is how to name p' in the message.

    Raises:
        InputError: more layers than p' has, or a family whose blocks can't be taken out.
    """
    layers = int(config.num_hidden_layers)
    if kept > layers:
        way_out = (
            f"Set it to 2 to {layers}, or less than that for a smaller student"
            if layers > 1
            else "Nothing can be left out of it: take student_weights: given or new"
        )
        has = f"{model} has {layers} layer{'s' if layers > 1 else ''}"
        raise InputError(f"settings.student_layers = {kept}: {has}. {way_out}")
    try:
        small = outline(cut_config(config, kept))
        _copied(outline(config), small, kept_layers(layers, kept))
    except Exception as error:  # whatever a family's own code makes of fewer layers
        raise InputError(
            f"settings.student_weights = 'layers': {model} can't be cut to {kept} layers "
            f"({first_line(error)}). Set student_weights: new, or given with a pruned model"
        ) from None


def cut_model(model: PreTrainedModel, kept: int) -> PreTrainedModel:
    """A model of `kept` layers of this one, every parameter bit for bit the layer's own.

    Returns:
        A model of its own in float32 on the CPU; nothing of it is shared with `model`.
    """
    small = blank_model(cut_config(model.config, kept))
    numbers = kept_layers(int(model.config.num_hidden_layers), kept)
    small.load_state_dict(_copied(model, small, numbers))
    small.tie_weights()
    return small


def _copied(
    model: PreTrainedModel, small: PreTrainedModel, numbers: tuple[int, ...]
) -> dict[str, Any]:
    """The small model's state by its own names, from the layers of these numbers.

    Raises:
        ValueError: the blocks stand in no one list, or a parameter has another shape.
    """
    import torch

    of = int(model.config.num_hidden_layers)
    lists: list[str] = []
    for name, module in model.named_modules():  # what holds others comes first
        inside = any(name.startswith(f"{other}.") for other in lists)
        if isinstance(module, torch.nn.ModuleList) and len(module) == of and not inside:
            lists.append(name)
    if len(lists) != 1:
        raise ValueError(f"{len(lists)} lists of {of} modules, and its layers should be one")
    begin = f"{lists[0]}."
    state, found = model.state_dict(), {}
    for name, tensor in small.state_dict().items():
        source = name
        if name.startswith(begin):
            place, _, rest = name.removeprefix(begin).partition(".")
            source = f"{begin}{numbers[int(place)]}.{rest}"
        if source not in state or state[source].shape != tensor.shape:
            raise ValueError(f"{source} has no counterpart")
        found[name] = state[source]
    return found
