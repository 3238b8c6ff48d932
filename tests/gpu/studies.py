"""The studies that the acceptance runs, as study files' content; see `parts.py` for who runs them.

Each has a real size and a tiny one: the tiny one is the dry run's, on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recalltrap.streams import stream

VOCABULARY = 49_152
"""SmolLM2's."""
Study = dict[str, Any]


def mixture(*, tiny: bool) -> Study:
    """A mixture study whose every stage is short: what rounding does to it is what we look at."""
    length = 20 if tiny else 200
    return {
        "name": "gpu/mixture",
        "kind": "mog",
        "question": "Does the device change a mixture?",
        "orderings": ["K-A", "A-K"],
        "seeds": 1 if tiny else 3,
        "grid": {"kl_weight": [0.5, 4.0]},
        "settings": {
            "student_components": 3,
            "sft_iterations": 2 * length,
            "distill_iterations": 2 * length,
            "iterations": length,
        },
    }


def language(*, tiny: bool) -> Study:
    """A nano language study through every stage of both orderings."""
    return {
        "name": "gpu/language",
        "kind": "llm",
        "question": "Does the device change a language model?",
        "orderings": ["K-A", "A-K"],
        "seeds": 1,
        "settings": {
            "p_star": "nano-small",
            "p_prime": "nano-small",
            "corpus_sentences": 200 if tiny else 3000,
            "p_star_epochs": 1 if tiny else 2,
            "training_samples": 64 if tiny else 2048,
            "heldout_samples": 16 if tiny else 256,
            "p_prime_epochs": 1 if tiny else 2,
            "distill_epochs": 1 if tiny else 2,
            "target_epochs": 1 if tiny else 2,
            "iterations": 1 if tiny else 10,
            "oracle_samples": 32 if tiny else 512,
            "evaluation_samples": 32 if tiny else 1024,
        },
    }


def one_gpu(corpus: Path, p_star: str | None, *, tiny: bool) -> Study:
    """`llm/one-gpu-ppo` scaled down: its models' shapes, its algorithm, few samples and updates.

    Without a `p_star` folder p* is of SmolLM2-135M's shape and trained on `corpus`, with a
    tokenizer of as many tokens as SmolLM2's.
    """
    trained: Mapping[str, Any] = {
        "p_star": "nano-small" if tiny else "smollm2-135m",
        "corpus": str(corpus),
        "vocabulary_size": 1024 if tiny else VOCABULARY,
        "p_star_epochs": 1,
    }
    given = {"p_star": p_star}
    sizes = {
        "p_prime": "nano-small" if tiny else "smollm2-360m",
        "student": "nano-small" if tiny else "smollm2-135m",
        "p_target": "nano-small" if tiny else "smollm2-135m",
        "training_samples": 64 if tiny else 2048,
        "heldout_samples": 16 if tiny else 128,
        "sample_tokens": 16 if tiny else 48,
        "p_prime_epochs": 1,
        "distill_epochs": 1,
        "target_epochs": 1,
        "align_tokens": 16 if tiny else 48,
        "iterations": 1 if tiny else 4,
        "oracle_samples": 32 if tiny else 256,
        "evaluation_samples": 32 if tiny else 512,
    }
    return {
        "name": "gpu/one-gpu",
        "kind": "llm",
        "question": "Does a study of SmolLM2's shapes run on one GPU from end to end?",
        "orderings": ["K-A", "A-K"],
        "seeds": 1,
        "settings": {
            **(given if p_star else trained),
            **sizes,
            "learning_rate": 0.0005,
            "batch_size": 64,
            "algorithm": "ppo",
            "kl_weight": 0.7,
            "align_learning_rate": 0.0001,
            "rollout_size": 64,
            "minibatch_size": 8,
            "model_selection": "paper",
            "selection_interval": 2,
        },
        "resources": {"gpus_per_trial": 0 if tiny else 1},  # compiling layers would take its time
    }


ONSETS = (
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z",
    "br", "st", "tr", "pl",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")


def write_corpus(path: Path, words: int, documents: int) -> None:
    """A text of made-up words, whose frequencies follow Zipf's law.

    61,000 different ones give a byte-level tokenizer 49,152 tokens, which the grammar's few
    hundred words can't; each stands somewhere, so each can become a token.
    """
    random = stream(0, "gpu/corpus")

    def word() -> str:
        syllables = int(random.integers(2, 5))
        picks = random.integers(0, (len(ONSETS), len(VOWELS)), (syllables, 2))
        return "".join(ONSETS[onset] + VOWELS[vowel] for onset, vowel in picks)

    spelled = sorted({word() for _ in range(words)})
    random.shuffle(spelled)
    weight = 1.0 / (np.arange(len(spelled)) + 10.0)
    drawn = random.choice(len(spelled), (documents, 16), p=weight / weight.sum())
    lines = [[spelled[i] for i in row] for row in drawn]
    lines += [spelled[i : i + 16] for i in range(0, len(spelled), 16)]
    path.write_text("".join(f"The {' '.join(line)}.\n" for line in lines))
