"""What can be seen of a study's prompts before anything starts: each row, its length, its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.prompt_files import (
    FIELD,
    LongestPrompt,
    PromptFile,
    WrittenPrompt,
    read_prompts,
    split,
)
from recalltrap_studies.llm.data.row_files import least_tokens
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Sample

if TYPE_CHECKING:  # prompts are looked at before torch is imported, see `first_look`
    from transformers import PreTrainedTokenizerFast

LEAST_SAMPLES = 2
"""Of each held-out prompt: with one the noise of a mean isn't known."""
FIRST_WORD = "The"
"""Every sentence of the grammar begins with it."""


def check_prompts(
    settings: LlmSettings,
    tokenizer: PreTrainedTokenizerFast | None,
    *,
    trained_here: bool,
    grammar: bool,
) -> LongestPrompt:
    """Refuse prompts that can't be asked, and find the longest.

    Without a tokenizer words are counted: there are no fewer tokens. `trained_here` says that the
    models get a tokenizer of ours, and `grammar` that they speak the grammar alone.

    Raises:
        InputError: naming the setting, the file, the row and the way out.
    """
    if settings.prompts is None:
        if grammar and not _begins_a_sentence(settings.prompt):
            raise InputError(
                f"settings.prompt = {settings.prompt!r}: every sentence of the grammar begins with "
                f"{FIRST_WORD!r}. Begin the prompt with it, or give a corpus of your own"
            )
        if tokenizer is None:
            return LongestPrompt(least_tokens(settings.prompt), "settings.prompt", exact=False)
        from recalltrap_studies.llm.models.tokenizers import encode_prompt

        tokens = len(encode_prompt(tokenizer, settings.prompt))
        return LongestPrompt(tokens, "settings.prompt", exact=True)
    return _check_file(settings, settings.prompts, tokenizer, trained_here, grammar)


def check_context(settings: Sample, longest: LongestPrompt, model: str, context: int) -> None:
    """Refuse samples that are longer than a model's context; responses of an alignment are shorter.

    `model` is how to name the model.

    Raises:
        InputError: naming the setting, the model, and the most that fits.
    """
    tokens = longest.tokens
    if tokens >= context - 1:
        raise InputError(
            f"{longest.name} has {tokens} tokens or more, and the context of "
            f"settings.{model} is {context}: shorten the prompt, or choose a larger model"
        )
    if tokens + settings.sample_tokens > context:
        of = "" if longest.name == "settings.prompt" else f" ({longest.name})"
        most = f"{context - tokens} or less"
        if not longest.exact:
            of, most = f" or more{of}", f"less, {context - tokens} at most"
        raise InputError(
            f"settings.sample_tokens = {settings.sample_tokens}: with a prompt of {tokens} "
            f"tokens{of} that is more than the context of settings.{model}, which is {context}. "
            f"Set it to {most}, or choose a model with a longer context"
        )


def _check_file(
    settings: LlmSettings,
    spec: str,
    tokenizer: PreTrainedTokenizerFast | None,
    trained_here: bool,
    grammar: bool,
) -> LongestPrompt:
    file, found = PromptFile(spec), read_prompts(spec)
    for prompt in found:
        if prompt.text is None and trained_here:
            raise file.refused(
                prompt.row, "it has messages, and a tokenizer that is trained here has no chat "
                "template", "Write a `prompt`, or give models whose tokenizer has one",
            )  # fmt: skip
        if grammar and not _begins_a_sentence(prompt.text or ""):
            raise file.refused(
                prompt.row, f"prompt = {prompt.text!r}: every sentence of the grammar begins with "
                f"{FIRST_WORD!r}", "Begin the prompt with it, or give a corpus of your own",
            )  # fmt: skip
    _, judged = split(spec, found, settings.prompt_holdout)
    least = LEAST_SAMPLES * len(judged)
    if settings.evaluation_samples < least:
        raise InputError(
            f"settings.evaluation_samples = {settings.evaluation_samples}: models are judged by "
            f"{len(judged)} prompts of {FIELD} = {spec!r}, each with {LEAST_SAMPLES} responses at "
            f"least. Set it to {least} or more, or lower prompt_holdout"
        )
    lengths = [_tokens(prompt, tokenizer, file) for prompt in found]
    longest = max(range(len(found)), key=lambda row: lengths[row])
    place = file.place(found[longest].row)
    return LongestPrompt(lengths[longest], place, exact=tokenizer is not None)


def _begins_a_sentence(text: str) -> bool:
    return text.split(" ")[0] == FIRST_WORD


def _tokens(
    prompt: WrittenPrompt, tokenizer: PreTrainedTokenizerFast | None, file: PromptFile
) -> int:
    if tokenizer is None:
        return least_tokens(prompt.content)
    from recalltrap_studies.llm.data.prompts import encode

    return len(encode(tokenizer, prompt, file))
