"""What can be seen to fail before anything starts: models, vocabularies, contexts, the corpus."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

from recalltrap.errors import InputError, nearest
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.preferences import check_preferences
from recalltrap_studies.llm.data.truth import check_truth
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import architectures, folders, hub
from recalltrap_studies.llm.models.families import first_line
from recalltrap_studies.llm.models.layers import check_cut
from recalltrap_studies.llm.models.pretrained import check_loadable, look
from recalltrap_studies.llm.models.tokenizers import compare_vocabularies
from recalltrap_studies.llm.prompt_checks import check_context, check_prompts
from recalltrap_studies.llm.rewards import checks
from recalltrap_studies.llm.rewards.checks import check_judges
from recalltrap_studies.llm.roles import ALIGNED, named_models, taken_as_given
from recalltrap_studies.llm.settings import LlmSettings

JUDGED_BY_P_PRIME = (
    "settings.p_star is null: p' itself judges precision, and recall is that of its samples"
)
PRECISION_BY_P_PRIME = "settings.p_star is null: p' itself judges precision"
ONE_P_PRIME = "p' is given: every seed starts from this one, so what is concluded is for this p'"


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
    specs, given = named_models(settings), taken_as_given(settings)
    known = _known(specs, given)
    trained_here = settings.p_star is not None and architectures.is_size(settings.p_star)
    if trained_here:
        _check_own_vocabulary(specs)
        _check_corpus(settings)
    else:
        _check_grammar_unread(settings)
    _check_topics(settings)
    tokenizer = None
    if known:
        first, (tokenizer, _) = next(iter(known.items()))
        for field, (other, _) in known.items():
            compare_vocabularies(tokenizer, other, first, field)
        _check_embeddings({field: known[field][1] for field in known if field in given}, specs)
    grammar = trained_here and settings.corpus == corpus.GRAMMAR
    longest = check_prompts(settings, tokenizer, trained_here=trained_here, grammar=grammar)
    contexts = {}
    check_judges(settings, longest)
    for field, spec in specs.items():
        if field in known or architectures.is_size(spec):
            config = known[field][1] if field in known else architectures.config_of(spec)
            contexts[field] = int(config.max_position_embeddings)
            check_context(settings, longest, f"{field} = {spec!r}", contexts[field])
    if settings.student_weights == "layers":
        _check_layers(settings, known)
    return [*notes_on_models(settings), *_check_data(settings, tokenizer, contexts)]


def _check_data(
    settings: LlmSettings, tokenizer: PreTrainedTokenizerFast | None, contexts: Mapping[str, int]
) -> Iterator[str]:
    """What files of rows hold, a line each; `contexts` are the models', by their settings."""
    given: Any = settings  # composed of the algorithms' parts
    if given.preferences is not None:
        learning = {field: size for field, size in contexts.items() if field in ALIGNED}
        longest, unusable = settings.align_tokens, given.preferences_unusable
        yield check_preferences(given.preferences, tokenizer, longest, learning, unusable)
    if settings.truth is not None:
        judged = {field: size for field, size in contexts.items() if field in ALIGNED}
        yield check_truth(settings.truth, tokenizer, judged)


def notes_on_models(settings: LlmSettings) -> list[str]:
    """A line for all that the user should know: weights that aren't used, what given ones mean."""
    specs, given = named_models(settings), taken_as_given(settings)
    silent = {"student"} if settings.student == settings.p_second else set[str]()
    notes = [
        f"settings.{field} = {spec!r}: architecture only; its weights aren't used"
        for field, spec in specs.items()
        if field not in given | silent and not architectures.is_size(spec)
        if _may_have_weights(spec, field)
    ]
    if settings.p_star is None:
        notes.append(JUDGED_BY_P_PRIME if settings.truth is None else PRECISION_BY_P_PRIME)
    if settings.p_prime_weights == "given":
        notes.append(ONE_P_PRIME)
    return notes


def _may_have_weights(spec: str, field: str) -> bool:
    """A hub id and a GGUF file have weights; a folder may be a configuration alone."""
    if not architectures.is_folder(spec):
        return True
    return folders.has_weights(Path(architectures.location(spec, field)[0]))


def check_access(settings: LlmSettings) -> None:
    """Refuse hub ids that can't be had now: the hub is asked once, and briefly.

    Raises:
        InputError: it doesn't answer, or has no such model, and it isn't cached on this machine.
    """
    checks.check_access(settings)
    given = taken_as_given(settings)
    for field, spec in named_models(settings).items():
        if architectures.is_size(spec) or architectures.is_local(spec):
            continue
        look(spec, field)
        if field in given and hub.fault() and not _has_cached_weights(spec, field):
            reason = FileNotFoundError("no *.safetensors of it")
            raise architectures.unreachable(spec, field, "weights", reason)


def _has_cached_weights(spec: str, field: str) -> bool:
    name, revision = architectures.location(spec, field)
    files = ("model.safetensors", "model.safetensors.index.json")
    found = (try_to_load_from_cache(name, file, revision=revision) for file in files)
    return any(isinstance(path, str) for path in found)


def _known(
    specs: Mapping[str, str], given: Collection[str]
) -> dict[str, tuple[PreTrainedTokenizerFast, PreTrainedConfig]]:
    """Tokenizer and configuration of every model that isn't a size of ours and can be looked at."""
    strange = [field for field, spec in specs.items() if not architectures.is_size(spec)]
    known = {}
    for field in strange:
        spec = specs[field]
        here = architectures.is_local(spec)
        try:
            known[field] = look(spec, field, local_only=len(strange) == 1)
        except architectures.Unreachable:
            if here or len(strange) > 1:
                raise
            continue
        _check_buildable(known[field][1], spec, field)
        if field in given and architectures.is_folder(spec):
            folders.check_weights(spec, field, Path(architectures.location(spec, field)[0]))
            check_loadable(AutoModelForCausalLM, spec, field)
    return known


def _check_embeddings(configs: Mapping[str, PreTrainedConfig], specs: Mapping[str, str]) -> None:
    """Refuse given models that don't have equally many embeddings, spare ones among them.

    What one of them says is scored by another, which must have every token.
    """
    counts = {field: int(config.vocab_size) for field, config in configs.items()}
    if len(set(counts.values())) < 2:
        return
    most = max(counts, key=lambda field: counts[field])
    least = min(counts, key=lambda field: counts[field])
    resize = folders.command(folders.RESIZE, specs[least], str(counts[most]))
    raise InputError(
        f"settings.{least} = {specs[least]!r} has {counts[least]} embeddings and settings.{most} "
        f"{counts[most]}, of the same tokenizer: one could say a token that the other hasn't. Give "
        f"it as many, in a copy of it if you like: {resize}"
    )


def _check_layers(
    settings: LlmSettings, known: Mapping[str, tuple[PreTrainedTokenizerFast, PreTrainedConfig]]
) -> None:
    """Refuse a student of layers of p' that can't be cut; a hub's p' that isn't here is trusted."""
    spec, kept = settings.p_prime, settings.student_layers
    assert kept is not None, "checked with the settings"
    if "p_prime" in known:
        config = known["p_prime"][1]
    elif architectures.is_size(spec):
        config = architectures.config_of(spec)
    else:
        return
    check_cut(config, kept, f"p_prime = {spec!r}")


def _check_buildable(config: PreTrainedConfig, spec: str, field: str) -> None:
    try:
        architectures.outline(config)
    except Exception as error:  # whatever a family's own code makes of strange numbers
        raise InputError(
            f"settings.{field} = {spec!r}: transformers can't make a model of its configuration "
            f"({first_line(error)}). Mend its config.json, or give another model"
        ) from None


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
        corpus.check_documents(settings.corpus)


def _check_grammar_unread(settings: LlmSettings) -> None:
    """Where p_star comes with its weights, nothing is trained on a corpus."""
    if settings.corpus != corpus.GRAMMAR:
        who = "p'" if settings.p_star is None else f"p_star = {settings.p_star!r}"
        raise InputError(
            f"settings.corpus = {settings.corpus!r}: {who} comes with its weights and is trained "
            "on no corpus. Leave corpus out, or give p_star as a size of ours, which is trained on "
            f"it: {', '.join(architectures.SIZES)}"
        )


def _check_topics(settings: LlmSettings) -> None:
    for topic in settings.target_topics:
        if topic not in sentences.TOPICS:
            raise InputError(
                f"settings.target_topics: {topic!r} is no topic of the grammar; "
                f"{nearest(topic, sentences.TOPICS)}"
            )
    p_star = named_models(settings).get("p_star", "p'")
    own = architectures.is_size(p_star) and settings.corpus == corpus.GRAMMAR
    if settings.target_topics and not own:
        teacher = f"corpus = {settings.corpus!r}"
        if not architectures.is_size(p_star):
            teacher = f"p_star = {p_star!r}"
        raise InputError(
            f"settings.target_topics = {list(settings.target_topics)}: topics are known for the "
            f"grammar's sentences alone, and {teacher} speaks otherwise. Leave it empty, or train "
            "p_star on the grammar"
        )
