"""What the files of a model's folder tell before any weight is read, and which are refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors import safe_open
from tokenizers import Tokenizer

from recalltrap.errors import InputError
from recalltrap_studies.llm.models.families import NUMBERS, first_line, too_large

WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"})
"""Suffixes of files that hold weights, in whatever format."""
CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
VOCABULARIES = ("*vocab*", "*.model", "*.spm", "*.tiktoken", "merges.txt", "tekken.json")
"""Files of a tokenizer in formats that transformers converts."""
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
CONVERT = (
    "import sys; from transformers import {model} as Model; "
    "Model.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])"
)
MERGE = (
    "import sys; from peft import AutoPeftModelForCausalLM as Model; "
    "from transformers import AutoTokenizer; "
    "model = Model.from_pretrained(sys.argv[1], dtype='auto'); "
    "model.merge_and_unload().save_pretrained(sys.argv[2]); "
    "AutoTokenizer.from_pretrained(model.peft_config['default'].base_model_name_or_path)"
    ".save_pretrained(sys.argv[2])"
)
RESIZE = (
    "import sys; from transformers import AutoModelForCausalLM as Model; "
    "model = Model.from_pretrained(sys.argv[1], dtype='auto'); "
    "model.resize_token_embeddings(int(sys.argv[2])); model.save_pretrained(sys.argv[1])"
)


HEAD_WIDTHS = ("head_dim", "head_size", "kv_channels", "d_kv")
"""In the names of what says how wide a head is; without any it is the width by the heads."""
ALWAYS_DIVIDED = frozenset({"llama"})
"""Families whose heads divide the width also where their own is stated."""
EMBEDDING = re.compile(r"(emb|wte|shared).*weight$")
"""In every model's weights, whatever its family: the words as they are in files."""


def command(code: str, *arguments: str) -> str:
    """A line of Python as the shell wants it."""
    return shlex.join(["python", "-c", code, *arguments])


def unusable(spec: str, field: str, what: str, reason: str) -> str:
    """The message of a folder that lacks a part of a model, or has one that can't be read."""
    return (
        f"settings.{field} = {spec!r}: this folder has no usable {what} ({reason}). Give a "
        "folder that save_pretrained wrote for the model and for its tokenizer"
    )


def stated_config(spec: str, field: str, folder: Path) -> dict[str, Any]:
    """What a folder's configuration says, as it stands in its file.

    Whether any model can be so is for transformers to judge.

    Raises:
        InputError: there is none, or one that no model has.
    """
    check_no_adapter(spec, field, folder)
    try:
        found = _read_object(folder / CONFIG)
        if not isinstance(found.get("model_type"), str):
            raise ValueError(f"no model_type in its {CONFIG}")
        for name in NUMBERS:
            if isinstance(value := found.get(name), str | float | dict | bool):
                raise ValueError(f"{name} = {value!r:.60} is no whole number")
            # Where nothing limits a context, some say -1.
            if isinstance(value, int) and value <= 0 and name != "max_position_embeddings":
                raise ValueError(f"{name} = {value} is no positive number")
        _check_heads(found)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(unusable(spec, field, "configuration", first_line(error))) from None
    if reason := too_large(SimpleNamespace(**found)):
        raise InputError(f"settings.{field} = {spec!r}: {reason}")
    return found


def _check_heads(found: Mapping[str, Any]) -> None:
    """Refuse a width that heads don't divide, unless they may have a width of their own.

    Raises:
        ValueError: names both.
    """
    width, heads = found.get("hidden_size"), found.get("num_attention_heads")
    if not (isinstance(width, int) and isinstance(heads, int)) or width % heads == 0:
        return
    stated = any(word in name for name in found for word in HEAD_WIDTHS)
    if not stated or found["model_type"] in ALWAYS_DIVIDED:
        raise ValueError(f"hidden_size = {width} is no multiple of num_attention_heads = {heads}")


def check_tokenizer(spec: str, field: str, folder: Path) -> int | None:
    """How many tokens a folder's `tokenizer.json` has; None where it is in another format.

    Raises:
        InputError: there are no files of a tokenizer, or some that can't be read.
    """
    settings, file = folder / TOKENIZER_CONFIG, folder / TOKENIZER
    try:
        if settings.exists():
            _read_object(settings)
        if file.exists():
            return int(Tokenizer.from_file(str(file)).get_vocab_size())
        if not any(next(folder.glob(name), None) for name in VOCABULARIES):
            raise ValueError(f"no {TOKENIZER} in it")
    except Exception as error:  # tokenizers has no class of its own
        raise InputError(unusable(spec, field, "tokenizer", first_line(error))) from None
    return None


def strangers(spec: str, field: str, tokens: int, embeddings: int) -> InputError:
    """The error for a tokenizer with tokens that the model beside it has no embedding for."""
    return InputError(
        f"settings.{field} = {spec!r}: its tokenizer has {tokens} tokens and the model only "
        f"{embeddings}: they don't belong together. Save the model's own tokenizer beside it"
    )


def _read_object(file: Path) -> dict[str, Any]:
    """A file of JSON that is an object.

    Raises:
        OSError, ValueError, RecursionError: it can't be read, or is none.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"no {file.name} in it") from None
    except ValueError as error:
        raise ValueError(f"its {file.name} is no JSON: {first_line(error)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"its {file.name} is no JSON object")
    return found


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights, rather than a configuration alone."""
    return any(path.suffix in WEIGHTS for path in folder.iterdir())


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter and no model of its own."""
    return (folder / ADAPTER).is_file() and not _model_files(folder)


def check_no_adapter(spec: str, field: str, folder: Path) -> None:
    """Refuse a PEFT adapter, which is no model before it is merged.

    Raises:
        InputError: with the command that merges it.
    """
    if is_adapter(folder):
        merged = f"{folder}-merged"
        raise InputError(
            f"settings.{field} = {spec!r} is an adapter (PEFT) without the model that it belongs "
            f"to. Merge them once, `pip install peft && {command(MERGE, str(folder), merged)}`, "
            f"and give {field}: {merged}"
        )


def check_weights(spec: str, field: str, folder: Path, model: str = "AutoModelForCausalLM") -> None:
    """Refuse a folder whose weights can't be read: none, a pickle's, an adapter's, or in part.

    `model` is the class of transformers that loads it.

    Raises:
        InputError: names the setting and the way out.
    """
    check_no_adapter(spec, field, folder)
    files = sorted(_model_files(folder))
    names = [name for file in files for name in _names(spec, field, file)]
    if files and not any(EMBEDDING.search(name) for name in names):
        reason = f"none of its {len(names)} tensors is named like an embedding's weight"
        raise InputError(unusable(spec, field, "model", reason))
    if (folder / INDEX).is_file():
        _check_shards(spec, field, folder)
    elif not _model_files(folder):
        if any(folder.glob("*.bin")):
            raise InputError(
                f"settings.{field} = {spec!r}: its weights are a *.bin alone, a pickle, which is "
                "never read here. Convert them once, if you trust who made them: "
                f"{command(CONVERT.format(model=model), str(folder))}"
            )
        raise InputError(unusable(spec, field, "weights", "no *.safetensors in it"))


def _model_files(folder: Path) -> list[Path]:
    """Files of a model's weights, an adapter's aside."""
    found = (p for p in folder.glob("*.safetensors") if p.is_file())
    return [p for p in found if not p.name.startswith("adapter_")]


def _names(spec: str, field: str, file: Path) -> list[str]:
    """The names of a file's tensors.

    Raises:
        InputError: its header isn't one, or speaks of more or less than the file holds.
    """
    try:
        with safe_open(file, "numpy") as found:
            return list(found.keys())
    except Exception as error:  # safetensors has a class of its own
        raise InputError(
            f"settings.{field} = {spec!r}: its {file.name} is no whole safetensors file "
            f"({first_line(error)}). Copy the model's folder again"
        ) from None


def _check_shards(spec: str, field: str, folder: Path) -> None:
    try:
        names = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        lacking = sorted(str(name) for name in names if not (folder / str(name)).is_file())
        strange = [name for name in names if Path(name).name != name or ".safetensors" not in name]
        if strange:
            raise ValueError(f"{strange[0]} is no *.safetensors of this folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"settings.{field} = {spec!r}: its {INDEX} can't be read ({first_line(error)}). Copy "
            "the model's folder again"
        ) from None
    if lacking:
        raise InputError(
            f"settings.{field} = {spec!r}: {INDEX} names {len(names)} files of weights, and "
            f"{len(lacking)} of them are missing, {lacking[0]} first. Copy the model's folder again"
        )
