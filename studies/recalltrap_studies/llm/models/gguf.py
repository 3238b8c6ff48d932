"""GGUF files, llama.cpp's format: read by transformers, dequantised to plain float32 models.

What is read is bit for bit what transformers reads. It calls such a model quantised and refuses to
save or train it, though its weights are plain numbers by then: they are copied into a model of the
same configuration that nothing calls so. The package `gguf` is imported when a file is read.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recalltrap.errors import InputError
from recalltrap_studies.llm.models.families import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"
MAGIC = b"GGUF"


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a GGUF file by its name, whether or not it is there."""
    return os.fspath(path).lower().endswith(SUFFIX)


def read_config(path: str, name: str = "the file") -> PreTrainedConfig:
    """The configuration in a GGUF file.

    `name` is the setting or option to name in errors, here and below.

    Raises:
        InputError: no such file, no GGUF file, or of a family that transformers can't read.
    """
    from transformers import AutoConfig

    with _reading(path, name) as (folder, file):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, gguf_file=file)
    return config


def read_tokenizer(path: str, name: str = "the file") -> PreTrainedTokenizerBase:
    """The tokenizer in a GGUF file, with its chat template where the file has one.

    Raises:
        InputError: see `read_config`.
    """
    from transformers import AutoTokenizer

    with _reading(path, name) as (folder, file):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    return tokenizer


def read_model(path: str, name: str = "the file") -> PreTrainedModel:
    """The model in a GGUF file as a plain one: float32, on the CPU, in eval mode.

    Raises:
        InputError: see `read_config`.
    """
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedModel

    with _reading(path, name) as (folder, file):
        quantised = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=file, dtype=torch.float32
        )
    config = copy.deepcopy(quantised.config)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.generation_config = quantised.generation_config
    torch.nn.Module.eval(model)
    assert isinstance(model, PreTrainedModel)
    return model


def convert(path: str, folder: Path, name: str = "the file") -> PreTrainedModel:
    """Write a GGUF file's model and tokenizer as a folder in the hub's format, whole or not at all.

    Returns:
        The model that was written.

    Raises:
        InputError: see `read_config`; or the folder is there already, which is left as it is.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already: remove it, or give another folder")
    model, tokenizer = read_model(path, name), read_tokenizer(path, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that the move is within one file system.
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.chmod(0o755)  # mkdtemp's is the owner's alone
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return model


@contextlib.contextmanager
def _reading(path: str, name: str) -> Iterator[tuple[str, str]]:
    """A file as transformers wants it, (folder, file's name); what goes wrong is the user's."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{name} = {path!r} can't be read: {error.strerror}") from None
    if magic != MAGIC:
        raise InputError(
            f"{name} = {path!r} is no GGUF file (it begins with {magic!r}): give one that "
            "llama.cpp's tools wrote, or a folder in the hub's format"
        )
    quiet = contextlib.redirect_stderr(io.StringIO())  # transformers' bar, which has no switch
    try:
        with quiet:
            yield os.path.split(os.path.abspath(path))
    except ImportError as error:
        raise InputError(
            f"{name} = {path!r}: reading GGUF needs the package gguf: pip install gguf "
            f"({first_line(error)})"
        ) from None
    except Exception as error:  # whatever a damaged or strange file does to its readers
        raise InputError(
            f"{name} = {path!r}: transformers can't read this GGUF file ({first_line(error)}). "
            "Give a folder in the hub's format of the same model"
        ) from None
