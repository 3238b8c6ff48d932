"""What each stage reads of the settings: the parts that `settings.LlmSettings` is composed of.

A stage's artifact depends on its own part and on nothing else. "Paper" is arXiv 2509.23667 (section
4.2, appendices C and D); what is marked "ours" it leaves open. What one algorithm alone reads
stands beside its record, in `alignment.registry`. The defaults are the embedded `nano` study's; the
named studies `llm/smollm2-*` hold the paper's values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from recalltrap.settings_parts import Part, added_setting
from recalltrap.store.contents import Content

Shaping = Literal["fold", "clip", "none"]
Selection = Literal["last", "paper"]
Engine = Literal["transformers", "vllm"]
Weights = Literal["new", "given"]
StudentWeights = Literal["new", "given", "layers"]
Texts = Literal["none", "few", "all"]
FEW_TEXTS = "few"
ORACLE = "oracle"
"""The paper's reward."""
SCORER_PLACES = tuple(f"scorer_{index}" for index in range(1, 9))
"""What an assessment calls the scorers, in their order."""

Positive = Annotated[float, Field(ge=1e-9, le=1e6, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1e-9, le=1, allow_inf_nan=False)]
"""The lower bounds keep quotients and squares of settings inside what a float32 holds."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, le=0.999999)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]
Tokens = Annotated[int, Field(ge=2, le=8192)]


def _written(value: Any) -> Any:
    """What the user wrote, also where a stage's configuration holds its content instead."""
    if isinstance(value, Content):
        return value.spec
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Spec = Annotated[str, Field(min_length=1, max_length=500), BeforeValidator(_written)]
"""A name, a path (see `recalltrap.paths`) or a hub id, as the user wrote it."""


class Optimiser(Part):
    """Causal-LM training by AdamW under a warmup-stable-decay schedule with linear decay."""

    learning_rate: Rate = Field(3e-3, description="Peak rate of every training. Paper: 5e-4.")
    batch_size: Count = Field(64, description="Sequences per update, over all workers. Paper: 64.")
    warmup_share: Share = Field(0.01, description="Share of warmup updates. Paper: 1 %.")
    decay_share: Share = Field(0.2, description="Share of linear decay. Paper: 20 %.")
    adam_beta1: Decay = Field(0.9, description="AdamW's first decay. Paper: 0.9.")
    adam_beta2: Decay = Field(0.95, description="AdamW's second decay. Paper: 0.95.")
    weight_decay: Share = Field(0.0, description="AdamW's weight decay (ours).")
    packing: bool = Field(False, description="Pack sequences to full length instead of padding.")
    max_gradient_norm: Positive = added_setting(
        1.0, description="Gradients of every training are scaled down to this norm (ours)."
    )


class Pretrain(Optimiser):
    """p* where it is trained here: from a corpus, with a tokenizer of its own."""

    p_star: Spec | None = Field(
        "nano-large",
        description="p*: a hub id (with @revision), a folder in the hub's format, a GGUF file, or "
        "a size of ours, which is trained on the corpus. Where p' is given it is null unless set: "
        "p' itself then judges precision. Paper: SmolLM2-1.7B.",
    )
    corpus: Spec = Field(
        "grammar", description="`grammar` (ours), or a text file with one document per line."
    )
    corpus_sentences: Count = Field(40_000, description="Sentences drawn from the grammar (ours).")
    vocabulary_size: int = Field(
        512, ge=64, le=65_536, description="Tokens of a tokenizer trained here (ours)."
    )
    p_star_epochs: Positive = Field(1.5, description="Epochs of p* over the corpus (ours).")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        if settings.corpus == "grammar":
            return {}
        why = f"corpus = {settings.corpus!r} is read whole: nothing reads corpus_sentences"
        return {"corpus_sentences": why}


PART, HELD_OUT = "prompts_of", "holdout"
"""A stage's configuration says by this name and value that it asks the held-out prompts."""
HOLDOUT = 0.2
"""The share of a file's prompts that models are judged by, unless the study says another."""


class Prompt(Part):
    """What every sequence begins with: one prompt, or those of a file."""

    prompt: str = Field("The", min_length=1, description='Paper: "The".')
    prompts: Spec | None = added_setting(
        None,
        description="A file of prompts instead: JSONL or Parquet with `prompt` (text) or "
        "`messages` (a chat), and `id` and `weight` if wanted; openings: 200 of ours (ours).",
    )
    prompt_holdout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = added_setting(
        HOLDOUT,
        description="Share of the file's prompts that models are judged by and never learn from; "
        "0: they are judged by those that they learn from (ours).",
    )

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        if settings.prompts is None:
            why = "without a file of prompts nothing reads prompt_holdout"
            return {"prompt_holdout": why}
        return {"prompt": f"prompts = {settings.prompts!r} are asked, and nothing reads prompt"}


class RewardNoise(Part):
    """What whatever sees single rewards reads."""

    reward_noise: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = added_setting(
        0.0,
        description="Standard deviation of Gaussian noise on every reward that an alignment, or a "
        "label of its pairs, sees: a noisy judge. No table has it (ours).",
    )


class Sample(Prompt):
    """Sequences drawn from a model for a student to learn from."""

    training_samples: Count = Field(40_000, description="Sequences. Paper: 10,000,000.")
    heldout_samples: Count = Field(
        2_048, description="Sequences kept from training. Paper: 100,000."
    )
    sample_tokens: Tokens = Field(32, description="New tokens at most. Paper: 512.")


class Sft(Optimiser):
    """p': an architecture, re-initialised and trained on samples of p* at temperature 1."""

    p_prime: Spec = Field("nano-medium", description="Architecture of p'. Paper: SmolLM2-360M.")
    p_prime_epochs: Positive = Field(3.0, description="Epochs of p' over its samples (ours).")


class Given(Part):
    """Models that the user has already, taken as they are."""

    p_prime_weights: Weights = added_setting(
        "new",
        description="Weights of p': `new` ones, trained on samples of p*, or `given`: the model "
        "p_prime as it is, which isn't trained (ours).",
    )
    p_second: Spec | None = added_setting(
        None,
        description="p'' where you have it: a folder, hub id or GGUF file, distilled from the "
        "given p'. Null: it is distilled here (ours).",
    )
    p_prime_aligned: Spec | None = added_setting(
        None,
        description="p'_AK where you have it: a folder, hub id or GGUF file, aligned from the "
        "given p'. Null: p' is aligned here (ours).",
    )


class Distill(Optimiser):
    """A student, trained on samples of its teacher: re-initialised, given, or layers of p'."""

    student: Spec = Field(
        "nano-small",
        description="Architecture of p'' and of every final; of p_second, where that is set and "
        "this isn't. Paper: SmolLM2-135M.",
    )
    distill_epochs: Positive = Field(4.0, description="Epochs of a student (ours).")
    student_weights: StudentWeights = added_setting(
        "new",
        description="What students start from: `new` weights, those `given` with the model "
        "student, or `layers` of p', evenly spaced, with its embeddings and head (ours).",
    )
    student_layers: Annotated[int, Field(ge=2, le=1000)] | None = added_setting(
        None, description="How many layers of p' a student keeps, first and last included (ours)."
    )

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        if settings.student_weights == "layers":
            why = "student_weights = layers makes students of layers of p': nothing reads student"
            return {"student": why}
        why = f"student_weights = {settings.student_weights}: nothing reads student_layers"
        return {"student_layers": why}


class Labelled(Part):
    """What whatever learns from labelled pairs reads; of a pair the one wins that the reward
    prefers."""

    preference_noise: float = Field(
        0.0, ge=0, le=0.5, description="Probability that a pair's label is flipped. Paper: 0."
    )


class PreferenceData(Labelled, RewardNoise):
    """Pairs that are drawn once and labelled, or a file's."""

    preferences: Spec | None = added_setting(
        None,
        description="A file of preferences to learn from instead: JSONL or Parquet with TRL's "
        "columns `prompt`, `chosen` and `rejected`, texts or chats (ours).",
    )
    preferences_unusable: Literal["refuse", "drop"] = added_setting(
        "refuse",
        description="Rows of the file that can't be learned from (chosen equals rejected, too "
        "long): `refuse` the study, or `drop` them (ours).",
    )

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        idle = dict(super().idle(settings))
        if settings.preferences is None:
            why = "without a file of preferences nothing reads preferences_unusable"
            return {**idle, "preferences_unusable": why}
        return {**idle, **{name: f"{FILE_LEARNED} {name}" for name in DRAWN_PAIRS}}


DRAWN_PAIRS = ("offline_pairs", "preference_noise", "reward_noise")
"""Settings of pairs that are drawn and labelled; a file's are neither."""
FILE_LEARNED = "a file of preferences is learned from as it stands, and nothing reads"


class Target(Optimiser):
    """p_target: trained on samples of p' at a low temperature, or on rare topics."""

    p_target: Spec = Field("nano-small", description="Architecture. Paper: SmolLM2-135M.")
    target_epochs: Positive = Field(4.0, description="Epochs of p_target (ours).")
    target_topics: tuple[str, ...] = Field(
        (), description="Grammar topics that p_target's training samples are redrawn from (ours)."
    )
    target_topic_share: Share = Field(
        0.5, description="Share of training samples redrawn from target_topics (ours)."
    )

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        if settings.target_topics:
            return {}
        return {"target_topic_share": "without target_topics nothing reads target_topic_share"}


class Judging(Part):
    """What responses are rewarded for, and what else they are judged by."""

    reward: Spec = added_setting(
        ORACLE,
        description="What alignments maximise: `oracle` (the paper's); the name of an installed "
        "entry point of the group recalltrap.rewards, of which `sentiment` and `length` ship; or a "
        "sequence classifier, by folder or hub id with @revision (ours).",
    )
    scorers: tuple[Spec, ...] = added_setting(
        (),
        max_length=len(SCORER_PLACES),
        description="What every model is judged by besides and nothing is optimised for; values as "
        "of reward, without the oracle; a classifier's label follows a # (ours).",
    )


class Classifying(Part):
    """What of a classifier is the reward."""

    reward_label: Annotated[str, Field(min_length=1, max_length=500)] | None = added_setting(
        None, description="The label whose logit is the reward, where it has several (ours)."
    )
    reward_sigmoid: bool = added_setting(
        False, description="The reward is the logit's sigmoid, which has the supremum 1 (ours)."
    )


class Reward(Prompt):
    """The oracle's: R_base = height · exp(−sharpness · NLL), folded at a computed threshold."""

    reward_height: Positive = Field(10.0, description="Factor of R_base (eq. 9). Paper: 10.")
    reward_sharpness: Positive = Field(0.5, description="Of the mean NLL per token. Paper: 0.5.")
    reward_shaping: Shaping = Field(
        "fold", description="Above the threshold: fold back (eq. 10), clip, or leave."
    )
    fold_quantile: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="Of R_base over p_target's own samples: the threshold. Paper: 0.9."
    )
    oracle_samples: Count = Field(4_096, description="Samples of p_target behind the threshold.")
    align_tokens: Tokens = Field(32, description="New tokens of a response. Paper: 128.")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        idle = super().idle(settings)
        if settings.reward_shaping != "none":
            return idle
        why = "with reward_shaping = none nothing reads fold_quantile"
        return {**idle, "fold_quantile": why}


class Alignment(RewardNoise, Prompt):
    """What all alignments read."""

    algorithm: str = Field(description="How to align: a name of `alignment.registry`.")
    kl_weight: Positive = Field(0.7, description="beta: the weight of the anchor. Paper: 0.7.")
    iterations: Count = Field(200, description="Rollouts. Paper: 2000 for online DPO.")
    align_learning_rate: Rate = Field(3e-4, description="Paper: 1e-5 (PPO), 5e-6 (DPO).")
    align_tokens: Tokens = Field(32, description="New tokens of a response. Paper: 128.")
    rollout_size: Count = Field(64, description="Responses per rollout. Paper: 64; DPO: 128.")
    minibatch_size: Count = Field(
        16, description="Responses (pairs for DPO) per update, over all workers. Paper: 8."
    )
    model_selection: Selection = Field(
        "last",
        description="Which checkpoint an alignment ends with: the last, or the paper's choice.",
    )
    selection_interval: Count = Field(10, description="Rollouts between candidates (ours).")
    align_max_gradient_norm: Positive = added_setting(
        1.0, description="Gradients of an alignment are scaled down to this norm (ours)."
    )

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        idle = super().idle(settings)
        if settings.model_selection != "last":
            return idle
        why = "with model_selection = last nothing reads selection_interval"
        return {**idle, "selection_interval": why}

    @classmethod
    def check(cls, settings: Any) -> None:
        """Refuse what its own settings don't allow; every algorithm's rollouts divide already.

        Raises:
            ValueError: says what must hold.
        """


class Evaluate(Prompt):
    """What the metrics of a model read, and what is kept of its responses."""

    evaluation_samples: Count = Field(4_096, description="Samples of each model and of p* (ours).")
    store_texts: Texts = added_setting(
        FEW_TEXTS,
        description="Whose text the table `responses` holds: of `none`, of a `few` responses to "
        "each prompt, or of `all`, up to 4 MB a model (ours).",
    )
    truth: Spec | None = added_setting(
        None,
        description="A file of what models must still be able to say, for overall recall: texts "
        "(JSONL or Parquet with `text`, or a text file), or `prompt` or `messages` with "
        "`response`, and `group` if wanted. Null: samples of p*, or of a given p' (ours).",
    )
    sample_tokens: Tokens = Field(32, description="New tokens at most. Paper: 512.")
