"""What comes from outside the store, as an identity: a folder or a file is known by its content.

Sizes of ours, the grammar and hub ids stand for themselves. A hub id without `@revision` is not
resolved for its identity, for that would ask the hub for every plan: what it stood for when it was
first loaded is pinned in the `load` artifact. No model is loaded here.
"""

from __future__ import annotations

from recalltrap_studies.llm.contents import Identity, content_of
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.corpus import GRAMMAR
from recalltrap_studies.llm.data.prompt_files import OPENINGS
from recalltrap_studies.llm.data.row_files import MOST_BYTES
from recalltrap_studies.llm.models.architectures import is_size
from recalltrap_studies.llm.models.gguf import is_gguf

SHAPE_FILES = ("config.json",)
"""What an architecture is taken from: re-initialised, neither weights nor tokenizer matter."""
MODEL_FILES = (
    "*.json", "*.safetensors", "*.model", "*.spm", "*.tiktoken", "*.jinja", "merges.txt",
    "vocab.txt",
)  # fmt: skip
"""What a model with its tokenizer is loaded from, in the hub's format: rather too much than too
little. Weights as `*.bin` aren't read; hidden files and folders aren't either."""


def architecture_identity(spec: str) -> Identity:
    """Identity of an architecture: a size of ours, a hub id, a folder's configuration, or a GGUF
    file, whose configuration stands in it."""
    return spec if is_size(spec) else content_of(spec, () if is_gguf(spec) else SHAPE_FILES)


def model_identity(spec: str) -> Identity:
    """Identity of a model with its weights and tokenizer."""
    return spec if is_size(spec) else content_of(spec, () if is_gguf(spec) else MODEL_FILES)


def prompts_identity(spec: str) -> Identity:
    """Identity of a file of prompts: its content, or the name of ours."""
    return spec if spec == OPENINGS else rows_identity(spec)


def rows_identity(spec: str) -> Identity:
    """Identity of a file of rows (prompts, preferences, texts): its content."""
    return content_of(spec, (), MOST_BYTES)


def corpus_identity(spec: str) -> Identity:
    """Identity of a corpus: the grammar, or a text file's content."""
    return spec if spec == GRAMMAR else content_of(spec, (), corpus.MOST_BYTES)
