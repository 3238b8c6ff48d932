"""What can be seen to fail before anything starts: models, vocabularies, contexts, the corpus."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from recalltrap.errors import InputError, nearest
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import architectures, hub
from recalltrap_studies.llm.models.families import first_line
from recalltrap_studies.llm.models.pretrained import look
from recalltrap_studies.llm.models.tokenizers import compare_vocabularies
from recalltrap_studies.llm.prompt_checks import LongestPrompt, check_prompts
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Sample

MODEL_FIELDS = ("p_star", "p_prime", "student", "p_target")
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"})
"""Suffixes of files that hold weights, in whatever format."""


def check_sources(settings: LlmSettings) -> list[str]:
    """Refuse what can be seen to fail before anything starts. The hub is asked only where two of
    its vocabularies have to be compared; else a hub id is judged by what is cached of it.

    Returns:
        What the user should know, a line each.

    Raises:
        InputError: naming the setting, its value and the way out.
    """
    if settings.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise InputError(
            "settings.engine = 'vllm': it isn't installed here. `pip install recalltrap[vllm]` on "
            "every machine of the cluster, or take engine: transformers"
        )
    specs = {field: str(getattr(settings, field)) for field in MODEL_FIELDS}
    trained_here = architectures.is_size(settings.p_star)
    known = _known(specs)
    if trained_here:
        _check_own_vocabulary(specs)
        _check_corpus(settings)
    else:
        _check_grammar_unread(settings)
    _check_topics(settings)
    tokenizer = None
    if "p_star" in known:
        tokenizer = known["p_star"][0]
        for field, (other, _) in known.items():
            compare_vocabularies(tokenizer, other, "p_star", field)
    grammar = trained_here and settings.corpus == corpus.GRAMMAR
    longest = check_prompts(settings, tokenizer, trained_here=trained_here, grammar=grammar)
    for field, spec in specs.items():
        if field in known or architectures.is_size(spec):
            config = known[field][1] if field in known else architectures.config_of(spec)
            check_context(settings, longest, f"{field} = {spec!r}", config)
    return ignored_weights(specs)


def ignored_weights(specs: Mapping[str, str]) -> list[str]:
    """A line for each model that is given with weights and re-initialised all the same."""
    return [
        f"settings.{field} = {spec!r}: architecture only; its weights aren't used"
        for field, spec in specs.items()
        if field != "p_star" and not architectures.is_size(spec) and _may_have_weights(spec, field)
    ]


def _may_have_weights(spec: str, field: str) -> bool:
    """A hub id has weights; a folder may be a configuration alone."""
    if not architectures.is_folder(spec):
        return True
    folder = Path(architectures.location(spec, field)[0])
    return any(path.suffix in WEIGHTS for path in folder.iterdir())


def check_access(settings: LlmSettings) -> None:
    """Refuse hub ids that can't be had now: the hub is asked once, and briefly.

    Raises:
        InputError: it doesn't answer, or has no such model, and it isn't cached on this machine.
    """
    for field in MODEL_FIELDS:
        spec = str(getattr(settings, field))
        if architectures.is_size(spec) or architectures.is_folder(spec):
            continue
        look(spec, field)
        if field == "p_star" and hub.fault() and not _has_cached_weights(spec):
            reason = FileNotFoundError("no *.safetensors of it")
            raise architectures.unreachable(spec, field, "weights", reason)


def _has_cached_weights(spec: str) -> bool:
    name, revision = architectures.location(spec, "p_star")
    files = ("model.safetensors", "model.safetensors.index.json")
    found = (try_to_load_from_cache(name, file, revision=revision) for file in files)
    return any(isinstance(path, str) for path in found)


def _known(
    specs: Mapping[str, str],
) -> dict[str, tuple[PreTrainedTokenizerFast, PreTrainedConfig]]:
    """Tokenizer and configuration of every model that isn't a size of ours and can be looked at."""
    strange = [field for field, spec in specs.items() if not architectures.is_size(spec)]
    known = {}
    for field in strange:
        spec = specs[field]
        folder = architectures.is_folder(spec)
        try:
            known[field] = look(spec, field, local_only=len(strange) == 1)
        except architectures.Unreachable:
            if folder or len(strange) > 1:
                raise
            continue
        _check_buildable(known[field][1], spec, field)
        if field == "p_star" and folder:
            _check_weights(spec)
    return known


def _check_buildable(config: PreTrainedConfig, spec: str, field: str) -> None:
    try:
        architectures.outline(config)
    except Exception as error:  # whatever a family's own code makes of strange numbers
        raise InputError(
            f"settings.{field} = {spec!r}: transformers can't make a model of its configuration "
            f"({first_line(error)}). Mend its config.json, or give another model"
        ) from None


def _check_weights(spec: str) -> None:
    """Refuse a p_star without weights, and one whose weights only executing could read."""
    folder = Path(architectures.location(spec, "p_star")[0])
    if any(folder.glob("*.safetensors")):
        return
    if not any(folder.glob("*.bin")):
        reason = FileNotFoundError("no *.safetensors in it")
        raise architectures.unreachable(spec, "p_star", "weights", reason)
    convert = (
        "import sys; from transformers import AutoModelForCausalLM as Model; "
        "Model.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])"
    )
    raise InputError(
        f"settings.p_star = {spec!r}: its weights are a *.bin alone, a pickle, which is never read "
        f"here. Convert them once, if you trust who made them: "
        f"{shlex.join(['python', '-c', convert, str(folder)])}"
    )


def _check_own_vocabulary(specs: Mapping[str, str]) -> None:
    """Where p_star gets a tokenizer of its own, no other model may bring one."""
    for field, spec in specs.items():
        if not architectures.is_size(spec):
            raise InputError(
                f"settings.{field} = {spec!r} brings a vocabulary of its own, and p_star is "
                "trained here with another. Give a size of ours, which takes p_star's "
                f"({', '.join(architectures.SIZES)}), or a p_star of the same family"
            )


def _check_corpus(settings: LlmSettings) -> None:
    if settings.corpus != corpus.GRAMMAR:
        corpus.read_documents(settings.corpus)


def _check_grammar_unread(settings: LlmSettings) -> None:
    """Where p_star comes with its weights, nothing is trained on a corpus."""
    if settings.corpus != corpus.GRAMMAR:
        raise InputError(
            f"settings.corpus = {settings.corpus!r}: p_star = {settings.p_star!r} comes with its "
            "weights and is trained on no corpus. Leave corpus out, or give p_star as a size of "
            f"ours, which is trained on it: {', '.join(architectures.SIZES)}"
        )


def _check_topics(settings: LlmSettings) -> None:
    for topic in settings.target_topics:
        if topic not in sentences.TOPICS:
            raise InputError(
                f"settings.target_topics: {topic!r} is no topic of the grammar; "
                f"{nearest(topic, sentences.TOPICS)}"
            )
    own = architectures.is_size(settings.p_star) and settings.corpus == corpus.GRAMMAR
    if settings.target_topics and not own:
        teacher = f"corpus = {settings.corpus!r}"
        if not architectures.is_size(settings.p_star):
            teacher = f"p_star = {settings.p_star!r}"
        raise InputError(
            f"settings.target_topics = {list(settings.target_topics)}: topics are known for the "
            f"grammar's sentences alone, and {teacher} speaks otherwise. Leave it empty, or train "
            "p_star on the grammar"
        )


def check_context(
    settings: Sample, longest: LongestPrompt, model: str, config: PreTrainedConfig
) -> None:
    """Refuse samples that are longer than a model's context; responses of an alignment are shorter.

    `model` is how to name the model.

    Raises:
        InputError: naming the setting, the model, and the most that fits.
    """
    context = int(config.max_position_embeddings)
    tokens = longest.tokens
    if tokens >= context - 1:
        raise InputError(
            f"{longest.name} has {tokens} tokens or more, and the context of "
            f"settings.{model} is {context}: shorten the prompt, or choose a larger model"
        )
    if tokens + settings.sample_tokens > context:
        of = "" if longest.name == "settings.prompt" else f" ({longest.name})"
        raise InputError(
            f"settings.sample_tokens = {settings.sample_tokens}: with a prompt of {tokens} "
            f"tokens{of} that is more than the context of settings.{model}, which is {context}. "
            f"Set it to {context - tokens} or less, or choose a model with a longer context"
        )
